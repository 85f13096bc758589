"""A study's aggregate run, as W&B's server gets it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from study_fixture import STUDY, finish
from wandb_server import WandbServer

from trigan.commands.study import write_table
from trigan.config.compose import Composer, RunConfig
from trigan.studies.jobs import StudyJobs
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study
from trigan.studies.study_wandb import log_study, run_id

pytestmark = pytest.mark.usefixtures("small_conf")


def first(**logger: Any) -> RunConfig:
    """A job, as far as its logger goes."""
    target = {"_target_": "trigan.tracking.wandb_tracking.WandbTracking", **logger}
    return cast(RunConfig, SimpleNamespace(config={"logger": target}))


def test_one_run_holds_the_table_and_goes_on_with_it(
    wandb_server: WandbServer, tmp_path: Path, composer: Composer, yaml_study: Path
) -> None:
    study = read_study(yaml_study)
    jobs = StudyPlan(composer, study, [f"paths.outputs={tmp_path}"]).jobs()
    half = len(jobs.runnable) // 2
    finish(jobs.runnable[:half])
    log_study(study, jobs, write_table(study, jobs), first())
    finish(jobs.runnable[half:])
    table = write_table(study, jobs)
    log_study(study, jobs, table, first())
    asked = len(wandb_server.asked)
    log_study(study, jobs, table, first())
    assert len(wandb_server.asked) == asked, "W&B had this very table"

    (run,) = wandb_server.runs.values()
    assert (run.id, run.state, len(run.history)) == (run_id(study, jobs), "finished", 2)
    assert (run.told["jobType"], run.told["groupName"], run.told["displayName"]) == ("study", "table", "A table")
    assert run.config["rows"] == ["matched", "bare", "two & more"]
    assert {key: value for key, value in run.summary.items() if key.startswith("study/small")} == pytest.approx(
        {"study/small/bare": 0.805, "study/small/two & more": 0.855}
    )
    for row, cells in zip(run.history, (half, len(jobs.runnable)), strict=True):
        shown = json.loads(wandb_server.file(run.id, row["study/table"]["path"]))
        assert sum(line[shown["columns"].index("n")] for line in shown["data"]) == cells
        assert all(isinstance(line[shown["columns"].index("mean")], float) for line in shown["data"])
        assert b"two &amp; more" in wandb_server.file(run.id, row["study/page"]["path"])
    assert wandb_server.file(run.id, "table.md") == (jobs.folder(study) / "table.md").read_bytes()
    assert wandb_server.unknown == []


def test_another_logger_tells_nothing(tmp_path: Path, composer: Composer, yaml_study: Path) -> None:
    study = read_study(yaml_study)
    jobs = StudyJobs(StudyPlan(composer, study, [f"paths.outputs={tmp_path}"]).jobs().runnable, (), tmp_path, "", False)
    finish(jobs.runnable)
    log_study(study, jobs, write_table(study, jobs), first(_target_="trigan.tracking.tracker.NoTracking"))
    assert not list(tmp_path.rglob("wandb"))


@pytest.fixture
def yaml_study(tmp_path: Path) -> Path:
    path = tmp_path / "table" / "study.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(STUDY))  # which is YAML
    return path

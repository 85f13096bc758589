"""A study's aggregate run, as W&B's server gets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from study_fixture import STUDY, finish
from wandb_server import WandbServer

from trigan.config.compose import Composer
from trigan.studies.jobs import StudyJobs
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import write_study_table
from trigan.studies.study_file import read_study
from trigan.studies.study_wandb import run_id

pytestmark = pytest.mark.usefixtures("small_conf")


def with_logger(jobs: StudyJobs, target: str = "wandb_tracking.WandbTracking") -> StudyJobs:
    return replace(jobs, logger={"_target_": f"trigan.tracking.{target}"})


def test_one_run_holds_the_table_and_goes_on_with_it(
    wandb_server: WandbServer, tmp_path: Path, composer: Composer, yaml_study: Path
) -> None:
    study = read_study(yaml_study)
    jobs = with_logger(StudyPlan(composer, study, [f"paths.outputs={tmp_path}"]).jobs())
    half = len(jobs.runnable) // 2
    finish(jobs.runnable[:half])
    write_study_table(study, jobs)
    finish(jobs.runnable[half:])
    write_study_table(study, jobs)
    asked = len(wandb_server.asked)
    write_study_table(study, jobs)
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
    jobs = with_logger(StudyPlan(composer, study, [f"paths.outputs={tmp_path}"]).jobs(), "tracker.Tracking")
    finish(jobs.runnable)
    write_study_table(study, jobs)
    assert not list(tmp_path.rglob("wandb"))


@pytest.fixture
def yaml_study(tmp_path: Path) -> Path:
    path = tmp_path / "table" / "study.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(STUDY))  # which is YAML
    return path

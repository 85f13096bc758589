"""A study: its file, its jobs, what is skipped, and rows that are given the compute of another."""

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock
from record_makers import make_record
from study_fixture import write_study

from trigan.commands.main import main
from trigan.config.compose import Composer, RunConfig
from trigan.config.override_rules import hydra_quoted
from trigan.errors import ConfigError
from trigan.execution.job import Job, JobResult
from trigan.execution.pool import Interrupted, LocalEngine
from trigan.records import failure
from trigan.runs.validation_run import validation_record_path
from trigan.studies import job_cache
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import count_stale_records, run_study
from trigan.studies.study_file import StudySchema, read_study
from trigan.studies.study_status import job_statuses

STUDY: dict[str, Any] = {
    "title": "A table",
    "claim": "none",
    "trials": 2,
    "fixed": ["architecture.width=4"],
    "columns": [{"name": "small", "set": ["data.size=8"]}, {"name": "large", "set": ["data.size=16"]}],
    "rows": [
        {"name": "baseline, matched", "set": ["strategy=one"], "match": "it's two"},
        {"name": "baseline", "set": ["strategy=one"]},
        {"name": "it's two", "set": ["strategy=two", "strategy.flag=true"]},
    ],
    "reference": "baseline",
    "scales": {"laptop": {"set": ["strategy.steps=5"]}, "paper": {"set": ["strategy.steps=50"], "trials": 5}},
}

ROWS = STUDY["rows"]


def write(folder: Path, **changes: Any) -> Path:
    return write_study(folder / "table", {**STUDY, **changes})


def finish(cells: Sequence[Any], flops: int = 1) -> None:
    for index, cell in enumerate(cells):
        cell.record_path.parent.mkdir(parents=True)
        cell.record_path.write_text(json.dumps(make_record(0.5, cost={"flops": flops + index})))


def test_scales(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert read_study(path).scale == "laptop"
    assert read_study(path).fixed == ("architecture.width=4", "strategy.steps=5")
    assert read_study(path, "paper").trials == (0, 1, 2, 3, 4)
    assert read_study(write(tmp_path, scales=None)).scale is None
    with pytest.raises(ConfigError, match="--scale papper: no such scale; nearest: paper; scales: laptop, paper"):
        read_study(write(tmp_path), "papper")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"colums": []}, "colums: no such key; nearest: columns"),
        ({"rows": [{"name": "a", "sett": []}]}, "rows.a.sett: no such key; nearest: set"),
        (
            {"rows": [{"name": "a", "set": ["strategy"]}]},
            'rows.a.set=["strategy"]: expected a list of settings, each written key=value',
        ),
        ({"rows": []}, "rows=[]: expected a list of entries with `name` and `set`"),
        (
            {"rows": [{"name": "a", "match": 3.5}, {"name": "b", "match": {}}]},
            "rows.b.match={}: expected the name of a row, a list of names of rows, or family",
        ),
        ({"rows": [{"name": "a", "match": "most_expensive"}]}, "rows.a.match: most_expensive is no longer a match"),
        ({"rows": [{"name": "a", "match": []}]}, "rows.a.match=[]: expected the name of a row"),
        (
            {"rows": [*ROWS, {"name": "a", "match": "it's too"}]},
            "rows.a.match: \"it's too\" is no row; nearest: it's two",
        ),
        (
            {"rows": [*ROWS, {"name": "a", "match": "baseline, matched"}]},
            "rows.a.match: 'baseline, matched' has matched compute itself; name an ordinary row",
        ),
        ({"rows": [*ROWS, {"name": "a", "match": "family"}]}, "rows.a.match=family: the study has no family"),
        ({"columns": [{"name": "c", "match": "baseline"}]}, "columns: match: no such key"),
        ({"reference": "basline"}, "'basline' is no row; nearest: baseline"),
        ({"trials": 0}, "trials=0: expected how many"),
        ({"fixed": ["runtime.allow=[os]"]}, "command line only"),
        ({"trials": [0, 0]}, "trials=[0, 0]: expected how many"),
        (
            {"family": {"rows": ["it's two"]}},
            "family.baselines is missing: expected `rows: [...]` and `baselines: [...]`",
        ),
        ({"margin": "wide"}, "margin=wide: expected a number of points above 0"),
        ({"margin": -1}, "margin=-1: expected a number of points above 0"),
        ({"metric": "acuracy"}, "metric: acuracy: no such metric; nearest: accuracy"),
        ({"reference": 5}, "'5' is no row"),
        ({"reference": None, "quality": True}, "quality=true: gains are differences to the reference; name a row as"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_study(write(tmp_path, **changes))
    assert line in str(caught.value)
    assert "study.yaml" in str(caught.value)


def test_a_mistake_in_the_published_figures_is_told_before_anything_runs(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.with_name("published.csv").write_text("row,column\n")
    with pytest.raises(ConfigError, match=r"published\.csv, line 1: value is missing"):
        run_study(read_study(path), [f"paths.outputs={tmp_path / 'outputs'}"])
    assert not (tmp_path / "outputs").exists()


def test_jobs_and_what_they_run(tmp_path: Path, composer: Composer) -> None:
    plan = StudyPlan(composer, read_study(write(tmp_path)), [f"paths.outputs={tmp_path}"])
    jobs = plan.jobs()
    cells = jobs.runnable
    assert [cell.name for cell in cells[:4]] == [
        "baseline, small, trial 0",
        "baseline, small, trial 1",
        "baseline, large, trial 0",
        "baseline, large, trial 1",
    ]
    assert len(cells) == len({cell.hash for cell in cells}) == 8
    two = composer.compose(cells[-1].arguments)
    assert (two.config["row"], two.config["study"], two.trial) == ("it's two", "table", 1)
    assert two.config["strategy"]["steps"] == 5
    assert cells[-1].record_path == tmp_path / "runs" / cells[-1].hash / "record.json"
    assert (len(jobs.waiting), len(jobs)) == (4, 12)


def test_a_mistake_in_any_job_names_its_row(tmp_path: Path, composer: Composer) -> None:
    rows = [*STUDY["rows"][:2], {"name": "it's two", "set": ["strategy=tow"]}]
    with pytest.raises(ConfigError, match=r'^row "it\'s two", column \'small\': strategy=tow: no such choice'):
        StudyPlan(composer, read_study(write(tmp_path, rows=rows))).jobs()


def test_matched_rows_get_the_compute_of_their_own_row(tmp_path: Path, composer: Composer) -> None:
    plan = StudyPlan(composer, read_study(write(tmp_path)), [f"paths.outputs={tmp_path}"])
    jobs = plan.jobs()
    finish(jobs.runnable[:-1], flops=10**15)
    later = plan.with_matched(jobs)
    assert later == plan.jobs()
    assert [cell.name for cell in later.waiting] == ["baseline, matched, large, trial 1"]
    matched = later.runnable[len(jobs.runnable) :]
    assert [cell.name for cell in matched] == [
        "baseline, matched, small, trial 0",
        "baseline, matched, small, trial 1",
        "baseline, matched, large, trial 0",
    ]
    for cell, its_row in zip(matched, (4, 5, 6), strict=True):
        assert composer.compose(cell.arguments).config["strategy"]["matched_flops"] == 10**15 + its_row


def test_a_matched_row_waits_for_its_own_row_alone(tmp_path: Path, composer: Composer) -> None:
    rows = [*ROWS[1:], {"name": "matched", "set": ["strategy=one"], "match": "baseline"}]
    plan = StudyPlan(composer, read_study(write(tmp_path, rows=rows)), [f"paths.outputs={tmp_path}"])
    finish([cell for cell in plan.jobs().runnable if cell.row.name == "baseline"])
    assert plan.jobs().waiting == ()


def test_a_row_without_operations_is_not_matched(tmp_path: Path, composer: Composer) -> None:
    plan = StudyPlan(composer, read_study(write(tmp_path, trials=1)), [f"paths.outputs={tmp_path}"])
    finish(plan.jobs().runnable, flops=-3)  # 0 in the last one
    with pytest.raises(ConfigError, match=r"match: \"it's two\" has no counted operations .*; leave match out for it"):
        plan.jobs()


def test_an_entry_can_stand_for_one_matched_row_for_each_row_of_the_family(tmp_path: Path) -> None:
    rows = [
        {"name": "bare", "set": ["strategy=one"]},
        {"name": "a, matched", "set": ["strategy=one"], "match": "family"},
        {"name": "b", "set": ["strategy=one"], "match": ["two"]},
        {"name": "two", "set": ["strategy=two"]},
        {"name": "three", "set": ["strategy=two", "strategy.flag=true"]},
    ]
    changes = {
        "rows": rows,
        "reference": "bare",
        "family": {"rows": ["two", "three"], "baselines": ["bare", "a, matched", "b, matched to two"]},
        "scales": {"all": {}, "few": {"rows": ["bare", "a, matched", "two"]}},
    }
    study = read_study(write(tmp_path, **changes))
    assert {row.name: row.match for row in study.rows if row.match} == {
        "a, matched to two": "two",
        "a, matched to three": "three",
        "b, matched to two": "two",
    }
    assert study.family is not None
    assert study.family.baselines == ("bare", "a, matched to two", "a, matched to three", "b, matched to two")
    few = read_study(tmp_path / "table" / "study.yaml", "few")
    assert [row.name for row in few.rows] == ["bare", "a, matched to two", "two"]
    assert few.family is not None
    assert (few.family.rows, few.family.baselines) == (("two",), ("bare", "a, matched to two"))
    single = [*rows, {"name": "c", "set": ["strategy=one"], "match": "three"}]
    scales = {"few": {"rows": ["bare", "c", "two"]}}
    with pytest.raises(ConfigError, match=r"scales\.few\.rows: lacks 'three', whose compute 'c' is given"):
        read_study(write(tmp_path, **{**changes, "rows": single, "scales": scales}))


def test_names_survive_the_command_line(composer: Composer) -> None:
    for name in ("plain", "it's, a [name] = {x}", 'a "b" $c', "back\\slash"):
        assert composer.compose([f"row={hydra_quoted(name)}"]).config["row"] == name


@pytest.mark.usefixtures("small_conf", "no_server")
def test_command_skips_what_is_done_and_runs_matched_rows_last(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    composer: Composer,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "trigan")
    path, own = write(tmp_path, columns=STUDY["columns"][:1]), f"paths.outputs={tmp_path}"
    plan = StudyPlan(composer, read_study(path), [own])
    by_arguments = {cell.arguments: cell for cell in plan.jobs().runnable}
    batches: list[list[str]] = []

    def run_jobs(self: LocalEngine, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        batches.append([job.name for job in jobs])
        finish([by_arguments[job.overrides] for job in jobs if job.overrides in by_arguments])
        return [JobResult(job, 0, 1.0, tmp_path / "none.log") for job in jobs]

    monkeypatch.setattr(LocalEngine, "run", run_jobs)
    finish(plan.jobs().runnable[:1])
    assert main(["study", str(path), own, "--status"]) == 0
    assert "1 of 6 jobs done" in capsys.readouterr().out
    assert main(["study", str(path), own, "--dry-run"]) == 0
    assert "trigan run architecture.width=4" in capsys.readouterr().out
    (tmp_path / "mine").mkdir()
    assert main(["study", str(path), own, "--dry-run", "--config-dir", str(tmp_path / "mine")]) == 0
    assert f"trigan run --config-dir {tmp_path}/mine architecture.width=4" in capsys.readouterr().out
    assert batches == []
    capsys.readouterr()
    (tmp_path / "runs" / plan.jobs().runnable[0].hash / "wandb" / "offline-run-1").mkdir(parents=True)
    jobs, summary = run_study(read_study(path), [own])
    assert (summary.code, len(jobs.runnable), jobs.folder(read_study(path))) == (
        0,
        6,
        tmp_path / "studies" / "table" / "laptop",
    )
    assert caplog.messages[-1].endswith(f"with: wandb sync {tmp_path}/runs/*/wandb")
    assert [len(batch) for batch in batches] == [3, 2]
    assert all(name.startswith("baseline, matched") for name in batches[1])
    assert main(["study", str(path), own, "archtecture=large"]) == 2
    assert "archtecture: no such setting; nearest: architecture" in capsys.readouterr().err


def test_a_scale_takes_some_rows_and_columns(tmp_path: Path) -> None:
    small = {"set": [], "columns": ["large"], "rows": ["it's two", "baseline"], "cost": "a minute"}
    study = read_study(write(tmp_path, cost="an hour", scales={"small": small, "all": {}}), "small")
    assert [line.name for line in study.columns] == ["large"]
    assert [line.name for line in study.rows] == ["baseline", "it's two"]
    assert study.cost == "a minute"
    whole = read_study(tmp_path / "table" / "study.yaml", "all")
    assert (len(whole.columns), len(whole.rows), whole.cost) == (2, 3, "an hour")
    with pytest.raises(ConfigError, match=r"scales.small.columns: 'larg' is none; nearest: large"):
        read_study(write(tmp_path, scales={"small": {**small, "columns": ["larg"]}}))


def test_a_scale_adds_settings_to_a_row_or_a_column(composer: Composer, tmp_path: Path) -> None:
    """Lengths differ between data sets, and between a short and a long table of the same data sets."""
    long = {
        "columns": ["small", {"name": "large", "set": ["strategy.steps=70"]}],
        "rows": ["baseline", {"name": "it's two", "set": ["architecture.width=9"]}],
    }
    path = write(tmp_path, scales={"short": {}, "long": long})
    steps = {
        scale: {
            (job.row.name, job.column.name): (
                job.arguments.count("strategy.steps=70"),
                "architecture.width=9" in job.arguments,
            )
            for job in StudyPlan(composer, read_study(path, scale)).jobs().runnable
        }
        for scale in ("short", "long")
    }
    assert set(steps["short"].values()) == {(0, False)}
    assert steps["long"] == {
        (row, column): (int(column == "large"), row == "it's two")
        for row in ("baseline", "it's two")
        for column in ("small", "large")
    }
    for wrong, line in (
        ({"name": "larg"}, r"scales.long.columns: 'larg' is none; nearest: large"),
        ({"name": "large", "sets": []}, r"scales.long.columns.large.sets: no such key; nearest: set; keys: name, set"),
        ({"name": "large", "set": ["runtime.allow=[mine]"]}, r"runtime.allow may be given on the command line only"),
    ):
        with pytest.raises(ConfigError, match=line):
            read_study(write(tmp_path, scales={"long": {"columns": [wrong]}}))


@pytest.mark.parametrize(
    "override", ["trial=5", "strategy=two", "strategy.flag=false", "data.size=32", "data={size:32}", "row=x"]
)
def test_what_tells_jobs_apart_is_not_overridden(composer: Composer, tmp_path: Path, override: str) -> None:
    study = read_study(write(tmp_path))
    with pytest.raises(ConfigError, match=r"study table sets .* itself, job by job"):
        StudyPlan(composer, study, [override])


def test_below_a_choice_that_all_jobs_share_a_study_takes_settings(composer: Composer, tmp_path: Path) -> None:
    """``data.root=FOLDER`` is needed wherever the columns of a scale choose the same data; where they differ, not."""
    columns = [{"name": str(size), "set": ["data=plain", f"data.size={size}"]} for size in (8, 16)]
    study = read_study(write(tmp_path, columns=columns))
    assert StudyPlan(composer, study, ["data.fingerprint=x"]).variant() == "data.fingerprint=x"
    with pytest.raises(ConfigError, match=r"data.size=4: study table sets data.size itself, job by job"):
        StudyPlan(composer, study, ["data.size=4"])
    two = [{"name": name, "set": [f"data={name}"]} for name in ("plain", "rooted")]
    with pytest.raises(ConfigError, match=r"data.fingerprint=x: study table sets data itself, job by job"):
        StudyPlan(composer, read_study(write(tmp_path, columns=two)), ["data.fingerprint=x"])


def test_below_a_choice_that_some_rows_make_a_setting_is_theirs(composer: Composer, tmp_path: Path) -> None:
    """As ``strategy.pretrain.data.root=FOLDER``, which a row without that choice has no place for."""
    rows = [*STUDY["rows"], {"name": "large", "set": ["strategy=one", "architecture=large"]}]
    given = f"paths.outputs={tmp_path}"
    plan = StudyPlan(composer, read_study(write(tmp_path, rows=rows)), ["architecture.slope=0.1", given])
    taken = {cell.row.name: cell.arguments[-2:] for cell in plan.jobs().runnable}
    assert taken["large"] == ("architecture.slope=0.1", given)
    assert taken["baseline"] == ("row='baseline'", given)
    assert plan.variant() == f"architecture.slope=0.1 {given}"
    other = {"name": "small", "set": ["strategy=one", "architecture=small"]}
    with pytest.raises(ConfigError, match=r"architecture.slope=0.1: study table sets architecture itself, job by job"):
        StudyPlan(composer, read_study(write(tmp_path, rows=[*rows, other])), ["architecture.slope=0.1"])


def test_settings_that_change_results_make_a_table_of_their_own(composer: Composer, tmp_path: Path) -> None:
    study = read_study(write(tmp_path))
    assert StudyPlan(composer, study, ["trainer.devices=2", f"paths.outputs={tmp_path}"]).variant() == ""
    assert StudyPlan(composer, study, ["architecture.width=6"]).variant() == "architecture.width=6"


@pytest.mark.usefixtures("small_conf")
def test_a_second_look_composes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until something changes that a job's hash depends on, or a job that waited for others can be told."""
    path, own = write(tmp_path, columns=STUDY["columns"][:1]), f"paths.outputs={tmp_path}"
    composed: list[str] = []
    make_plan = job_cache.make_plan

    def counting(study: Any, *given: Any) -> StudyPlan:
        composed.append(study.name)
        return make_plan(study, *given)

    monkeypatch.setattr(job_cache, "make_plan", counting)
    status = ["study", str(path), own, "--status"]
    looks = []
    for _ in range(2):
        assert main(status) == 0
        looks.append(capsys.readouterr().out)
    assert looks[0] == looks[1]
    assert "0 of 6 jobs done, 6 missing; time left: not known before the first job is done" in looks[0]
    assert len(composed) == 1
    finish(StudyPlan(composer, read_study(path), [own]).jobs().runnable)
    assert main(status) == 0
    assert "4 of 6 jobs done, 2 missing" in capsys.readouterr().out
    assert main(status) == 0
    assert len(composed) == 2
    write(tmp_path, columns=STUDY["columns"][:1], trials=1)
    assert main(status) == 0
    assert "2 of 3 jobs done" in capsys.readouterr().out
    assert len(composed) == 3
    for kept in (tmp_path / "cache" / "jobs").iterdir():
        kept.write_text("{")
    assert main(status) == 0
    assert len(composed) == 4


@pytest.mark.usefixtures("small_conf")
def test_a_finished_list_holds_until_the_images_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composer: Composer
) -> None:
    """Then only the first trials are composed: two rows and two columns."""
    study = read_study(write(tmp_path, rows=ROWS[1:]))
    assert not any(row.match for row in study.rows)
    words = [f"paths.outputs={tmp_path}"]
    jobs = StudyPlan(composer, study, words).jobs()
    assert len(jobs) == 8
    composed: list[str] = []
    compose = StudyPlan.compose

    def counting(plan: StudyPlan, job: StudyJob, flops: int = 1) -> RunConfig:
        composed.append(job.name)
        return compose(plan, job, flops)

    def again() -> tuple[StudyJobs | None, int]:
        composed.clear()
        plan = StudyPlan(composer, study, words)
        return plan.finished(jobs), len(set(composed))

    monkeypatch.setattr(StudyPlan, "compose", counting)
    finish(jobs.runnable[1:])
    assert again() == (None, 0)  # one is missing
    finish(jobs.runnable[:1])
    found, looks = again()
    assert (found, looks) == (jobs, 4)
    assert found is not None
    assert found.logger == jobs.logger
    monkeypatch.setattr(RunConfig, "load_data", lambda _: SimpleNamespace(identity="of other images"))
    assert again() == (None, 4)


@pytest.mark.usefixtures("small_conf")
def test_job_states(tmp_path: Path, composer: Composer, capsys: pytest.CaptureFixture[str]) -> None:
    path, own = write(tmp_path, cost="an hour on 2 cores"), f"paths.outputs={tmp_path}"
    study = read_study(path)
    done, running, failed, missing = StudyPlan(composer, study, [own]).jobs().runnable[:4]
    finish([done])
    record = {**make_record(0.5, cost={"flops": 2_000_000_000}), "provenance": {"seconds": 90.0}}
    done.record_path.write_text(json.dumps(record))
    for cell in (done, running, failed):  # two of the marks are of earlier attempts
        failure.write(cell.record_path.parent, failure.Failure("exit 3", "trigan: it broke"))
    locks = tmp_path / "runs" / ".locks"
    locks.mkdir()
    (locks / f"{failed.hash}.lock").touch()  # left by a process that has ended
    with FileLock(locks / f"{running.hash}.lock"):
        statuses = job_statuses(job_cache.load_jobs(study, [own]))
        assert main(["study", str(path), own, "--status", "--workers", "1"]) == 0
    assert [job.state for job in statuses[:4]] == ["done", "running", "failed", "missing"]
    assert statuses[2].reason == "exit 3: trigan: it broke"
    assert (statuses[3].job.name, statuses[3].job.hash) == (missing.name, missing.hash)
    page = capsys.readouterr().out
    assert f"failed   {failed.hash}  {failed.name}  (exit 3: trigan: it broke)" in page
    assert "1 of 12 jobs done, 1 running, 1 failed, 9 missing; about 16 min 30 s left with 1 at a time, rows" in page
    assert main(["study", str(path), own, "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert f"done   {done.hash}  {done.name}  (1 min 30 s, 2 GFLOP as its row so far)" in page
    assert page.rstrip().endswith("the study's file says: an hour on 2 cores")


@pytest.mark.usefixtures("small_conf", "no_server")
def test_an_interrupted_study_and_commands_that_run_nothing_leave_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Afterwards every job is missing, not failed, and nothing but the list of jobs was written."""

    def interrupted(self: LocalEngine, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        raise Interrupted("stopped with 0 of 8 done", 2)

    path, outputs = write(tmp_path), tmp_path / "outputs"
    own = f"paths.outputs={outputs}"
    monkeypatch.setattr(LocalEngine, "run", interrupted)
    for words in ([], ["--dry-run"], ["--status"], ["--jobs-file", str(tmp_path / "jobs.txt")]):
        assert main(["study", str(path), own, *words]) == (0 if words else 130)
    validation = validation_record_path(outputs, StudyPlan(composer, read_study(path), [own]).jobs().runnable[0].hash)
    failure.write(validation.parent, failure.Failure("exit 1"))  # of a search's trial with the same hash
    statuses = job_statuses(job_cache.load_jobs(read_study(path), [own]))
    assert [job.state for job in statuses] == ["missing"] * 12
    files = [file for file in outputs.rglob("*") if file.is_file() and file.parent != validation.parent]
    assert {file.parent for file in files} == {outputs / "cache" / "jobs"}
    capsys.readouterr()


@pytest.mark.usefixtures("small_conf")
def test_state_is_shown_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    assert len(job_statuses(job_cache.load_jobs(read_study(write(tmp_path)), [f"paths.outputs={tmp_path}"]))) == 12


def test_the_schema_of_the_file_says_what_is_expected() -> None:
    schema = StudySchema.model_json_schema()
    assert set(schema["required"]) == {"rows"}
    assert schema["properties"]["margin"]["description"] == "a number of points above 0"
    assert schema["properties"]["trials"]["anyOf"][0] == {"minimum": 1, "type": "integer"}


@pytest.mark.usefixtures("small_conf", "no_server")
def test_an_output_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["study", str(write(tmp_path)), f"paths.outputs={tmp_path / 'file'}"]) == 3
    assert "a file is where a directory is needed" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("small_conf")
def test_the_jobs_as_a_list_for_any_queue(
    tmp_path: Path, composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    path, own, file = write(tmp_path, columns=STUDY["columns"][:1]), f"paths.outputs={tmp_path}", tmp_path / "a b.txt"
    cells = StudyPlan(composer, read_study(path), [own]).jobs().runnable
    finish(cells[:1])
    failure.write(cells[1].record_path.parent, failure.Failure("exit 1"))
    assert main(["study", str(path), own, "--jobs-file", str(file)]) == 0
    said = capsys.readouterr()
    lines = [shlex.split(line) for line in file.read_text().splitlines()]
    start = lines[0].index("run") + 1
    assert [tuple(line[start:]) for line in lines] == [cell.arguments for cell in cells[2:]]
    assert subprocess.run([*lines[0][: start - 1], "--version"], check=False).returncode == 0
    assert said.err.splitlines() == [
        f"2 of 6 jobs written to {file}, one a line",
        "skipped because they failed before: 1 (--retry lists them, too)",
        "not in it: 2 jobs that are given the compute of others; once those are done, the same command lists them",
    ]
    assert "sbatch --array=1-2 --requeue" in said.out
    wrapped = shlex.split(next(line for line in said.out.splitlines() if "sbatch" in line), comments=True)
    script = wrapped[-1].removeprefix("--wrap=").replace("exec ", "echo ")
    told = subprocess.run(
        ["sh", "-c", script],
        env={"SLURM_ARRAY_TASK_ID": "2", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert told.stdout.split()[-1] == own, told.stderr
    assert main(["study", str(path), own, "--jobs-file", str(file), "--retry"]) == 0
    assert len(file.read_text().splitlines()) == 3


def test_records_of_another_protocol_are_counted_and_not_used(tmp_path: Path, composer: Composer) -> None:
    study = read_study(write(tmp_path))
    jobs = StudyPlan(composer, study, [f"paths.outputs={tmp_path}"]).jobs()
    assert not count_stale_records(study, jobs)
    finish(jobs.runnable[:1])
    for number, (row, trial, protocol) in enumerate(
        [("baseline", 0, 1), ("baseline", 1, 1), ("baseline", 0, "next"), ("gone", 0, 1), ("baseline", 7, 1)]
    ):
        labels = {"study": study.name, "row": row, "trial": trial}
        place = tmp_path / "runs" / f"old{number}"
        place.mkdir()
        (place / "record.json").write_text(json.dumps({"tags": labels, "result": {"protocol": protocol}}))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "record.json").write_text("{")
    assert count_stale_records(study, jobs) == {"1": 2, "next": 1}
    assert sum(cell.done for cell in jobs.runnable) == 1

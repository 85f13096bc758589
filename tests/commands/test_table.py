"""`trigan table`: what `trigan study` writes, in every format, from disk and from W&B, without running anything."""

import csv
from pathlib import Path

import pytest
from fake_wandb import Api
from study_fixture import STUDY, finish, write_study

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import write_study_table
from trigan.studies.study_file import read_study
from trigan.tables.published import KEYS

pytestmark = pytest.mark.usefixtures("small_conf")


def finish_all(plan: StudyPlan) -> tuple[StudyJob, ...]:
    """Gives each job a record, those that are given the compute of others too."""
    jobs = plan.jobs()
    finish(jobs.runnable)
    later = plan.with_matched(jobs)
    finish(later.runnable[len(jobs.runnable) :])
    return later.runnable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_study(tmp_path / "table", STUDY)


@pytest.fixture
def own(tmp_path: Path) -> str:
    return f"paths.outputs={tmp_path}"


@pytest.fixture
def plan(file: Path, own: str, composer: Composer) -> StudyPlan:
    return StudyPlan(composer, read_study(file), [own])


def test_it_prints_what_the_study_writes(
    file: Path, own: str, plan: StudyPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = finish_all(plan)
    assert len(cells) == 6
    jobs = StudyJobs(cells, (), tmp_path, "", False)
    table, written = write_study_table(read_study(file), jobs)
    assert (table.spec.title, written) == ("A table", jobs.folder(read_study(file)))
    assert (written / "comparison.png").stat().st_size > 1000
    for name, end in (("md", "md"), ("latex", "tex")):
        assert main(["table", str(file), own, "--format", name]) == 0
        captured = capsys.readouterr()
        assert captured.out.encode() == (written / f"table.{end}").read_bytes()
        assert captured.err == ""
    assert "two \\& more" in captured.out
    assert main(["table", str(file), own, "--format", "terminal", "--output", str(tmp_path / "new" / "t.txt")]) == 0
    assert (tmp_path / "new" / "t.txt").read_bytes() == (written / "table.txt").read_bytes()
    assert capsys.readouterr().err == f"written: {tmp_path}/new/t.txt\n"


def test_the_same_bytes_from_wandb(
    file: Path,
    own: str,
    plan: StudyPlan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import trigan.tracking.wandb_tracking

    cells = finish_all(plan)
    missing = next(cell for cell in cells if cell.row.name == "two & more")
    missing.record_path.unlink()  # and with it the matched job of its column and trial can't be known
    held = {cell.hash: {"record.json": cell.record_path.read_text()} for cell in cells if cell.done}
    api = Api({"me/trigan": {**held, missing.hash: {"config.yaml": ""}, "another": {"record.json": "{}"}}})
    monkeypatch.setattr(trigan.tracking.wandb_tracking, "public_api", lambda: api)
    assert main(["table", str(file), own, "--format", "md"]) == 0
    there = capsys.readouterr()
    elsewhere = f"paths.outputs={tmp_path}/elsewhere"
    assert main(["table", str(file), elsewhere, "--format", "md", "--from", "wandb:me/trigan"]) == 0
    fetched = capsys.readouterr()
    assert fetched.out == there.out
    assert "incomplete" in there.out
    rest = f"`trigan study {file}` runs the rest\n"
    assert there.err == f"4 of 6 jobs have a record; {rest}"
    assert fetched.err == f"4 of 6 jobs have a record in W&B's me/trigan; {rest}"
    assert not (tmp_path / "elsewhere" / "runs").exists()
    assert main(["table", str(file), own, "--from", "wandb:me/other"]) == 2
    assert capsys.readouterr().err.startswith("trigan: wandb:me/other: Could not find project other; is it")


def test_published_figures_and_another_metric(
    file: Path, own: str, plan: StudyPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    finish_all(plan)
    line = dict.fromkeys(KEYS, "") | {"row": "bare", "column": "small", "value": "81.5", "spread_kind": "none"}
    line |= {"arxiv": "1606.03498", "dataset": "digits", "metric": "accuracy", "split": "official", "tag": "T"}
    line |= {"labels_training": "100", "labels_selection": "0", "architecture": "small_cnn"}
    with (file.parent / "published.csv").open("w", newline="") as page:
        writer = csv.DictWriter(page, KEYS)
        writer.writeheader()
        writer.writerows([line, {**line, "tag": "M"}])
    assert main(["table", str(file), own]) == 2
    assert "published.csv, line 3: tag is 'M': a figure from memory is never printed" in capsys.readouterr().err
    text = (file.parent / "published.csv").read_text().splitlines(keepends=True)
    (file.parent / "published.csv").write_text("".join(text[:2]))
    assert main(["table", str(file), own]) == 0
    header = capsys.readouterr().out.splitlines()[1]
    assert header.split() == ["row", "small", "(n", "=", "2)", "published", "minus", "bare"]
    assert main(["table", str(file), own, "--format", "md", "--metric", "macro_f1"]) == 0
    other = capsys.readouterr().out
    assert other.startswith("## A table: test macro F1, %")
    assert "| bare | 81.5; [T] 1606.03498 | metric: accuracy, ours macro\\_f1 | - |" in other


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--from", "wandb:me"], "--from: wandb:me: expected disk, wandb:ENTITY/PROJECT, or a file"),
        (["--format", "pdf"], "--format: invalid choice: 'pdf'"),
        (["--fromat", "md"], "--fromat: no such option; nearest: --format"),
        (["--scale", "paper"], "--scale paper: no such scale"),
        (["debug=fast"], "debug runs enter no table and no report; leave debug=... out"),
        (["trial=1"], "trial=1: study table sets trial itself"),
    ],
)
def test_mistakes_are_one_line(file: Path, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(file), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"trigan: {line}")
    assert said.count("\n") == 1


@pytest.mark.usefixtures("logged_out")
def test_who_is_not_logged_in_is_told_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(file), "--from", "wandb:me/trigan"]) == 2
    assert capsys.readouterr().err.startswith("trigan: you are not logged in to W&B")


def test_a_record_in_another_runs_folder(
    file: Path, own: str, plan: StudyPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = finish(plan.jobs().runnable)[:2]
    second.record_path.write_bytes(first.record_path.read_bytes())
    assert main(["table", str(file), own, "--format", "md"]) == 3
    said = capsys.readouterr()
    reason = f"{second.name} ({second.record_path}: the record of another run, {first.hash}"
    assert f"not used: {reason}" in said.err
    assert f"Not used: {second.name} (" in said.out.replace("\\", "")
    assert "incomplete, 1 of 2" in said.out


def test_a_study_that_never_ran_has_no_table(
    file: Path, own: str, plan: StudyPlan, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any run here the images are not even looked at: they may have to be fetched."""
    with monkeypatch.context() as patched:
        patched.setattr("trigan.config.compose.RunConfig.load_data", None)
        assert main(["table", str(file), own]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "study table: no run is finished under" in said.err
    other = plan.jobs().runnable[0].record_path.parents[1] / "another" / "record.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    assert main(["table", str(file), own]) == 2
    assert "study table: no run is finished under" in capsys.readouterr().err

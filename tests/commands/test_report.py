"""``trigan report``: a study's page from what is finished, and nothing is run for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from record_makers import make_record
from study_fixture import write_study

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.records.record import write_record
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study

STUDY: dict[str, Any] = {
    "title": "A table",
    "claim": "it is <so>",
    "question": "is it so?",
    "trials": 2,
    "rows": [
        {"name": "baseline", "set": ["strategy=one"]},
        {"name": "it's two", "set": ["strategy=two", "strategy.flag=true"]},
    ],
    "reference": "baseline",
    "scales": {"laptop": {"set": ["strategy.steps=5"]}, "paper": {"set": ["strategy.steps=50"]}},
}

pytestmark = pytest.mark.usefixtures("small_conf")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "table", STUDY)


def finish(cells: Sequence[StudyJob]) -> None:
    for cell in cells:
        record = {**make_record(0.75 + cell.trial / 100, cell.trial), "run": cell.hash}
        write_record(cell.record_path, record)


def plan(composer: Composer, study: Path, outputs: Path, *overrides: str) -> Sequence[StudyJob]:
    return StudyPlan(composer, read_study(study), [f"paths.outputs={outputs}", *overrides]).jobs().runnable


def test_a_report_of_what_is_there(
    tmp_path: Path, study: Path, composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"paths.outputs={tmp_path}"
    finish(plan(composer, study, tmp_path)[:3])
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", str(study), own]) == 0
    page = tmp_path / "studies" / "table" / "laptop" / "report.html"
    assert capsys.readouterr().out == f"written: {page}\n"
    assert [path for path in sorted(tmp_path.glob("*/**/*")) if path.is_file() and path not in before] == [
        *(tmp_path / "cache" / "jobs").iterdir(),
        page,
    ]
    text = page.read_text()
    assert "<h1>A table</h1>" in text
    assert "it is &lt;so&gt;" in text
    assert "<dt>Question</dt><dd>is it so?</dd>" in text
    assert "not finished" in text.partition("<nav")[0]
    assert "it&#39;s two: trial 1" in text
    assert main(["report", str(study), own]) == 0
    assert page.read_text() == text


def test_output_scale_and_overrides(tmp_path: Path, study: Path, composer: Composer) -> None:
    finish(plan(composer, study, tmp_path, "architecture.width=6"))
    words = ["report", str(study), f"paths.outputs={tmp_path}", "architecture.width=6"]
    assert main([*words, "--output", str(tmp_path / "own" / "page.html")]) == 0
    text = (tmp_path / "own" / "page.html").read_text()
    assert "A table (with " in text
    assert "not finished" not in text
    assert main(words) == 0
    assert [path.parent.name for path in tmp_path.glob("studies/table-*/laptop/report.html")] == ["laptop"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "study table: no run is finished under"),
        (["--scale", "papper"], "--scale papper: no such scale; nearest: paper"),
        (["--outptu", "x"], "--outptu: no such option; nearest: --output"),
        (["archtecture=large"], "archtecture: no such setting; nearest: architecture"),
        (["debug=fast"], "debug runs enter no table"),
    ],
)
def test_mistakes(tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(["report", str(study), f"paths.outputs={tmp_path}", *words]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("report.html"))


def test_a_place_that_cannot_be_written(
    tmp_path: Path, study: Path, composer: Composer, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(plan(composer, study, tmp_path)[:1])
    (tmp_path / "file").touch()
    assert main(["report", str(study), f"paths.outputs={tmp_path}", "--output", str(tmp_path / "file" / "x.html")]) == 3
    assert "cannot write" in capsys.readouterr().err

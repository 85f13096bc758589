"""Split files on the command line: out, checked, and into a run that then gives what the drawn one gives."""

import json
from pathlib import Path
from typing import Any

import pytest
from few_steps import small

from trigan.commands.main import main
from trigan.config.compose import compose
from trigan.records.record import read_record
from trigan.tables.compare import compare

REGIME = ("regime.labels_per_class=20", "trial=2")


def words(outputs: Path, *more: str) -> list[str]:
    return [f"paths.outputs={outputs}", *small("strategy=joint", *more)]


@pytest.fixture
def split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "splits" / "two.json"
    assert main(["splits", "export", *REGIME, "--output", str(path)]) == 0
    assert "digits, trial 2: 160 labelled, 40 validation, 1058 unlabelled, 539 test" in capsys.readouterr().out
    return path


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_run_on_the_exported_split_gives_the_drawn_run(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records: list[Any] = []
    for name, regime in (("drawn", REGIME), ("given", ("regime=from_file", f"regime.split={split}", "trial=2"))):
        assert main(["run", *words(tmp_path / name, *regime)]) == 0
        records.append(read_record(Path(capsys.readouterr().out.strip()) / "record.json"))
    drawn, given = (record["result"] for record in records)
    assert given["split"].pop("file") == json.loads(split.read_text())["digest"]
    assert given == drawn
    assert "file" not in drawn["split"]
    assert records[0]["run"] != records[1]["run"]
    table = compare(records)
    assert len(table.spec.columns) == 2


def test_a_split_counts_by_its_content(split: Path, tmp_path: Path) -> None:
    def run_hash(path: Path) -> str:
        return compose(["regime=from_file", f"regime.split={path}", "trial=2"]).run_hash("f")

    found = json.loads(split.read_text())
    same, other = tmp_path / "same.json", tmp_path / "other.json"
    same.write_text(json.dumps({**found, "data": {**found["data"], "name": "renamed"}}, indent=4))
    assert main(["splits", "export", *REGIME, "regime.unlabelled=none", "--output", str(other)]) == 0
    assert run_hash(same) == run_hash(split)
    assert run_hash(other) != run_hash(split)


def test_check(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["splits", "check", str(split), "data.image_size=16"]) == 0
    said = capsys.readouterr().out
    assert json.loads(split.read_text())["test"]["sha256"] in said
    assert f"regime=from_file regime.split={split} trial=2" in said
    broken = tmp_path / "broken.json"
    broken.write_text(split.read_text().replace('"indices": [', '"indices": [0, ', 1))
    assert "labelled.sha256 is not that of its indices" in error_of(["splits", "check", str(broken)], capsys)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["splits", "exprot"], "trigan splits exprot: no such command; nearest: export"),
        (["splits", "export"], "needed: --output"),
        (["splits", "export", "regime=from_file", "-o", "x.json"], "regime=from_file needs a split file"),
        (["splits", "export", "--trial", "1", "-o", "x.json"], "--trial: goes with --study; write trial=1"),
        (["splits", "export", "--study", "demo", "-o", "x.json"], "--trial is not given: study demo has 0, 1, 2"),
        (["splits", "check", "nowhere.json"], "cannot read the split file nowhere.json"),
        (["run", "regime=from_file"], "regime=from_file needs a split file: set regime.split=FILE"),
        (["run", "regime=from_file", "regime.labels_per_class=3"], "regime.labels_per_class: no such setting"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line in error_of(arguments, capsys)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "decoded"]


def test_rows_that_differ_in_regime_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    study, split = tmp_path / "mine" / "study.yaml", tmp_path / "split.json"
    rows = "rows: [{name: few, set: [regime=few]}, {name: plain, set: []}]"
    study.write_text(f"trials: 1\nfixed: [logger=none]\n{rows}\n")
    words = ["splits", "export", "--study", str(study), "--trial", "0", "--output", str(split)]
    assert "--row is not given, and rows of study mine differ in regime: few, plain" in error_of(words, capsys)
    assert not split.exists()
    assert main([*words, "--row", "few"]) == 0
    assert len(json.loads(split.read_text())["labelled"]["indices"]) == 40

"""`trigan data check`: what is wrong with a data set, and what the regime makes of it."""

from pathlib import Path

import pytest
from PIL import Image
from tiny_data import folder

from trigan.commands.main import main


@pytest.mark.parametrize(
    ("regime", "line"),
    [
        ("regime.labels_per_class=7", "regime default, trial 0: 70 labelled (7 of each class), 0 for validation, 1188"),
        ("regime.labels_per_class=20", "160 labelled (16 of each class), 40 for validation (4 of each class)"),
        ("regime=imbalanced", "of a class), "),
    ],
)
def test_what_the_regime_gives(regime: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", regime, f"paths.outputs={tmp_path}"]) == 0
    *_, sheet, doubtful, last = capsys.readouterr().out.splitlines()
    assert doubtful.startswith(f"labels that look wrong: {tmp_path}/data_check/digits-")
    assert Image.open(doubtful.partition(": ")[2]).size[1] > 4 * 40
    assert sheet.startswith(f"examples of each class: {tmp_path}/data_check/digits-")
    assert Image.open(sheet.partition(": ")[2]).size[1] > 10 * 40  # a row for each of ten classes
    assert line in last
    assert last.endswith("539 test")


def test_a_regime_that_asks_for_too_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "regime.labels_per_class=400", f"paths.outputs={tmp_path}"]) == 2
    told = capsys.readouterr()
    assert "no image occurs twice" in told.out
    assert told.err == (
        "trigan: class '0' has 125 labelled training images, but regime.labels_per_class=400 needs 400; lower it\n"
    )


def test_what_is_not_read_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "images")
    (root / "notes.txt").write_text("x")
    words = [f"data.root={root}", "regime.labels_per_class=2", f"paths.outputs={tmp_path}/out"]
    assert main(["data", "check", "data=folder", *words]) == 0
    told = capsys.readouterr()
    assert (told.out + told.err).count("notes.txt") == 1

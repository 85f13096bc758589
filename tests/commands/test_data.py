"""`trigan data check`: what is wrong with a data set, and what the regime makes of it."""

import pytest

from trigan.commands.main import main


@pytest.mark.parametrize(
    ("regime", "line"),
    [
        ("regime.labels_per_class=7", "regime default, trial 0: 70 labelled (7 of each class), 0 for validation, 1188"),
        ("regime.labels_per_class=20", "160 labelled (16 of each class), 40 for validation (4 of each class)"),
        ("regime=imbalanced", "of a class), "),
    ],
)
def test_what_the_regime_gives(regime: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", regime]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert line in last
    assert last.endswith("539 test")


def test_a_regime_that_asks_for_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "regime.labels_per_class=400"]) == 2
    told = capsys.readouterr()
    assert "no image occurs twice" in told.out
    assert told.err == (
        "trigan: class '0' has 125 labelled training images, but regime.labels_per_class=400 needs 400; lower it\n"
    )

"""Fuzzed command lines: each composes, or ends in one line; no traceback, no hang, no success of what is wrong."""

import random
from pathlib import Path

import pytest
from command_fuzzer import fault, make_fuzzer, without_fits
from study_fixture import write_study

from trigan.commands.main import main
from trigan.config.compose import Composer

STUDY = {
    "title": "Fuzzed",
    "trials": 1,
    "rows": [{"name": "one", "set": ["strategy=baseline"]}, {"name": "two", "set": ["strategy=augment"]}],
}


def run_fuzzer(
    count: int, seed: int, monkeypatch: pytest.MonkeyPatch, folder: Path, nearly_sound: bool = False
) -> tuple[list[str], int]:
    """What was wrong with some of the commands, and how many succeeded."""
    monkeypatch.chdir(folder)
    composer = Composer()
    fuzzer = make_fuzzer(composer, str(write_study(folder / "study", STUDY)))
    without_fits(composer, monkeypatch)
    assert main(["run", "trial=1", "strategy=joint"]) == 0, "a sound line is done"
    found, done = [], 0
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        words = fuzzer.nearly_sound(draw) if nearly_sound else fuzzer.words(draw)
        text, succeeded = fault(words)
        done += succeeded
        if text:
            found.append(f"{number}: {words!r}"[:400] + f": {text}")
    return found, done


def test_some_command_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, _ = run_fuzzer(40, 23, monkeypatch, tmp_path)
    assert not found, "\n".join(found)
    left = {path.name for path in tmp_path.iterdir()} | {path.name for path in (tmp_path / "outputs").glob("*")}
    assert left <= {"study", "outputs", "cache"}, "decoded images are kept, and nothing else"


def test_some_nearly_sound_command_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found, done = run_fuzzer(20, 23, monkeypatch, tmp_path, nearly_sound=True)
    assert not found, "\n".join(found)
    assert done >= 4, "some pass all checks"


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("nearly_sound", [False, True])
@pytest.mark.parametrize("part", range(10))
def test_five_thousand_command_lines(
    part: int, nearly_sound: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found, done = run_fuzzer(250, part, monkeypatch, tmp_path, nearly_sound)
    assert not found, "\n".join(found)
    assert done >= 50 * nearly_sound, "a good share passes all checks"

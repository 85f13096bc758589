"""Fuzzed command lines: each composes, or ends in one line; no traceback, no hang, no success of what is wrong."""

import random
from pathlib import Path

import pytest
from command_fuzzer import fault, make_fuzzer, without_fits

from trigan.commands.main import main
from trigan.config.compose import Composer


def run_fuzzer(count: int, seed: int, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    monkeypatch.chdir(folder)
    composer = Composer()
    fuzzer = make_fuzzer(composer)
    without_fits(composer, monkeypatch)
    assert main(["run", "trial=1", "strategy=joint"]) == 0, "a sound line is done"
    found = []
    for number in range(count):
        words = fuzzer.words(random.Random(f"{seed} {number}"))
        if text := fault(words):
            found.append(f"{number}: {words!r}"[:400] + f": {text}")
    return found


def test_some_command_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run_fuzzer(40, 23, monkeypatch, tmp_path)
    assert not found, "\n".join(found)
    assert not list(tmp_path.iterdir())


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_five_thousand_command_lines(part: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run_fuzzer(500, part, monkeypatch, tmp_path)
    assert not found, "\n".join(found)

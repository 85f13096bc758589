"""The folder of strangers' files that each attack starts from."""

from pathlib import Path

import hostile
import pytest


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> hostile.Attack:
    """`hostile.make_attack`."""
    return hostile.make_attack(tmp_path / "here", monkeypatch, capsys)

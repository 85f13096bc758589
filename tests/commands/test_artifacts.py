"""What is removed from the store: nothing that a run needs or a process holds."""

from pathlib import Path

import pytest

from trigan.artifacts.store import Store
from trigan.atomic import file_lock
from trigan.commands.main import main

NEEDED, UNUSED, HELD = "aaaa0000", "bbbb0000", "cccc0000"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """One stage of a run that is there, and one of a run that was removed."""
    store = Store(tmp_path / "artifacts")
    for digest, run in ((NEEDED, "there"), (UNUSED, "gone")):
        with store.stage(digest, {}, "gan") as slot:
            store.add_user(digest, run)
            slot.commit({})
    (tmp_path / "runs" / "there").mkdir(parents=True)
    (tmp_path / "runs" / "there" / "config.yaml").write_text("")
    return tmp_path


def left(outputs: Path) -> set[str]:
    return {entry.digest for entry in Store(outputs / "artifacts").entries()}


def test_unused_stages_go_and_those_in_use_stay(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["artifacts", "--outputs", str(outputs)]
    with Store(outputs / "artifacts").stage(HELD, {}, "gan"):
        assert main([*words, "--remove-unused"]) == 0
        said = capsys.readouterr().out
        assert said.startswith("removed 1 artifacts, ")
        assert said.endswith("; kept 1 in use by another process\n")
        assert left(outputs) == {NEEDED, HELD}
        assert main([*words, "--remove", "cccc"]) == 3
        assert "removed 0 artifacts, 0 bytes; kept 1 in use" in capsys.readouterr().out
    with file_lock(outputs / "runs" / ".locks" / "there.lock"):
        assert main([*words, "--remove", "aaaa"]) == 3, "the run is being computed, and needs the stage's curves"
        assert "kept 1 in use" in capsys.readouterr().out
        assert left(outputs) == {NEEDED, HELD}
    assert main([*words, "--remove", "cccc", "aaaa"]) == 0
    assert left(outputs) == set()

"""Where a result comes from."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trigan.runs.provenance import peak_memory, source_commit


def git(root: Path, *words: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_source_tree_and_says_so_if_it_is_not_all(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "src" / "trigan").mkdir(parents=True)
    git(tree, "init", "-q")
    assert source_commit(tree) is None
    (tree / "src" / "trigan" / "a.py").write_text("a = 1")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    head = git(tree, "rev-parse", "HEAD")
    (tree / "outputs.txt").write_text("a file that no result comes from")
    assert source_commit(tree) == head
    (tree / "src" / "trigan" / "b.py").write_text("b = 2")
    assert source_commit(tree) == f"{head}+changes"
    (tree / ".venv" / "lib" / "src" / "trigan").mkdir(parents=True)
    assert source_commit(tree / ".venv" / "lib") is None


@pytest.mark.parametrize(("system", "held"), [("linux", 3 * 1024), ("darwin", 3)])
def test_peak_memory_is_in_bytes(system: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3))
    assert peak_memory() == held

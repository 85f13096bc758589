"""Each example in a docstring of the package gives what it says."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import trigan

SOURCE = Path(trigan.__file__).parent
MODULES = [
    ".".join(("trigan", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed


def test_every_function_of_the_package_has_an_example() -> None:
    for name in ("run", "load", "study", "verdict", "data", "draw"):
        assert re.search(r">>> import trigan", getattr(trigan, name).__doc__ or ""), name

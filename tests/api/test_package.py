"""``import trigan``: light, typed, and what it offers."""

import subprocess
import sys
from pathlib import Path

import pytest

import trigan


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, trigan; print(sorted({'torch', 'hydra', 'numpy', 'pandas', 'rich'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


def test_everything_that_is_named_is_there() -> None:
    for name in trigan.__all__:
        assert getattr(trigan, name) is not None
    assert set(trigan.__all__) <= set(dir(trigan))
    assert (Path(trigan.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="moon"):
        _ = trigan.moon  # type: ignore[attr-defined]

"""Each write of a run is refused in turn, as by a full disk: the same command then ends it with the same result."""

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from small_study import results

from trigan.commands.main import main
from trigan.execution.job import DISK_FULL

#: The writes that `make test` refuses, and those of `make test-faults`, of all in a run; each a share of them.
FEW, MANY = (0.5,), tuple(number / 12 for number in range(12))
SHARES = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.faults)]


class Writes:
    """Counts what changes the disk below a folder, and refuses one of these calls and all later ones."""

    def __init__(self, folder: Path, refused: int | None) -> None:
        self.folder, self.refused, self.seen = str(folder), refused, 0

    def count(self, name: object) -> None:
        """Count a change of ``name``, and refuse it if the disk is full by now."""
        if isinstance(name, str | os.PathLike) and os.fspath(name).startswith(self.folder):
            self.seen += 1
            if self.refused is not None and self.seen > self.refused:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(name))

    @contextmanager
    def installed(self) -> Iterator["Writes"]:
        """In the context, new files, new folders and renames below the folder are counted."""
        counted = self.count

        def first(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(name: Any, *arguments: Any, **named: Any) -> Any:
                counted(name)
                return function(name, *arguments, **named)

            return call

        true_open = builtins.open

        def opened(name: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                counted(name)
            return true_open(name, mode, *arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtins, "open", opened)
            patch.setattr("io.open", opened)
            for name in ("replace", "mkdir", "rename"):
                patch.setattr(os, name, first(getattr(os, name)))
            yield self


def run(outputs: Path, strategy: str, refused: int | None) -> tuple[int, int]:
    """The exit code of a short run whose writes fail after so many, and how many it made."""
    words = ["run", *small(f"strategy={strategy}"), f"paths.outputs={outputs}"]
    with Writes(outputs, refused).installed() as writes:
        return main(words), writes.seen


@pytest.mark.parametrize("strategy", ["baseline", pytest.param("augment", marks=pytest.mark.faults)])
@pytest.mark.parametrize(
    "shares", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.faults)]
)
@pytest.mark.timeout(1800)
def test_a_run_whose_writes_fail_goes_on_afterwards(
    strategy: str, shares: tuple[float, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, total = run(tmp_path / "whole", strategy, None)
    assert code == 0
    assert total > 20, "the writes of a run are seen"
    whole = records(tmp_path / "whole")
    for share in shares:
        refused, outputs = int(share * total), tmp_path / f"{share}"
        code, _ = run(outputs, strategy, refused)
        said = capsys.readouterr().err
        assert code == DISK_FULL, f"after {refused} of {total} writes: exit {code}: {said[-500:]}"
        assert "Traceback" not in said
        assert not list(outputs.rglob("failure.json")), f"after {refused} of {total} writes"
        assert run(outputs, strategy, None)[0] == 0
        assert records(outputs) == whole, f"after {refused} of {total} writes"


def records(outputs: Path) -> dict[str, bytes]:
    """The results of runs, also of debug runs, which lie in a folder of their own."""
    return results(outputs) or results(outputs / "debug")

"""How far a command has come, on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Seconds between two lines where there is no terminal.
_EVERY = 10.0


class ProgressBar:
    """A context manager; ``total`` is None where it is not known. ``quiet``: only what is said is printed."""

    def __init__(self, what: str, total: int | None, quiet: bool = False) -> None:
        self._what, self._total, self._quiet = what, total, quiet
        self._done, self._last = 0, time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True) if console.is_terminal and not quiet else None
        self._task = self._bar.add_task(what, total=total) if self._bar else None

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._done)
        elif not self._quiet and time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            of = "" if self._total is None else f" of {self._total}"
            print(f"{self._what}: {self._done}{of}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line of warning on standard error."""
    print(f"trigan: warning: {text}", file=sys.stderr, flush=True)

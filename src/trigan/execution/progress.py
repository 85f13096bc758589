"""Progress on standard error: a bar on a terminal and in a notebook, a line now and then elsewhere."""

import logging
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from trigan.execution.job import Job, JobResult


class ProgressBar:
    """Progress of counted items; a context manager.

    Args:
        description: what is being done.
        total: number of items; None: unknown.
        quiet: neither bar nor lines, only what :meth:`say` is given.
        console: where to write; None: standard error.
        clock: returns seconds.
    """

    #: Seconds between two lines where no bar is shown.
    line_interval = 10.0

    def __init__(
        self,
        description: str,
        total: int | None,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.description, self.total, self.done, self.failed = description, total, 0, 0
        self.clock, self.console = clock, console or Console(stderr=True)
        self.started_at = self._last_line = clock()
        self.has_bar = self.console.is_terminal or self.console.is_jupyter
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}", style="red"),
            TextColumn("{task.fields[state]}", markup=False),  # names of jobs have brackets
            console=self.console,
            transient=True,
            disable=quiet or not self.has_bar,
        )
        self._task = self._bar.add_task(description, total=total, failed="", state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, count: int) -> None:
        """Count ``count`` more items."""
        self.done += count
        self.refresh()

    def refresh(self) -> None:
        """Update the bar; where there is none, write a line if the last one is :attr:`line_interval` seconds old."""
        failed = f"{self.failed} failed" if self.failed else ""
        self._bar.update(self._task, completed=self.done, failed=failed, state="  ".join(self._state()))
        if not (self.has_bar or self._quiet) and self.clock() - self._last_line >= self.line_interval:
            self.say("; ".join([str(self), *self._state()]))

    def say(self, text: str) -> None:
        """Write one line, above the bar if there is one."""
        self._last_line = self.clock()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        return f"{self.description}: {self.done}" + ("" if self.total is None else f" of {self.total}")

    def _state(self) -> list[str]:
        """What follows the count: the time left, once it can be estimated."""
        if not self.done or self.total is None or self.done >= self.total:
            return []
        return [f"about {duration(self._seconds_left(self.total - self.done))} left"]

    def _seconds_left(self, items: int) -> float:
        return (self.clock() - self.started_at) / self.done * items


class JobProgress(ProgressBar):
    """Progress of a pool's jobs: what runs, what failed, and a line for each job that ends where there is no bar.

    Args:
        total: number of jobs.
        workers: jobs at a time.
    """

    line_interval = 30.0

    def __init__(
        self,
        total: int,
        workers: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("", total, console=console, clock=clock)
        self._workers, self._running, self._busy = max(workers, 1), list[str](), 0.0

    def started(self, job: Job) -> None:
        """A job has started."""
        self._running.append(job.name)
        self.refresh()

    def ended(self, result: JobResult) -> None:
        """A job has ended."""
        self._running.remove(result.job.name)
        self.done, self.failed, self._busy = self.done + 1, self.failed + (not result.ok), self._busy + result.seconds
        outcome = f"{result.outcome.upper()} ({result.reason}); log: {result.log}"
        if not self.has_bar:
            line = f"{result.job.name}: {duration(result.seconds) if result.ok else outcome}"
            self.say("; ".join([str(self), line, *super()._state()]))
        elif not result.ok:
            self.say(f"{result.job.name}: {outcome}")
        self.refresh()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.say(f"{self} in {duration(self.clock() - self.started_at)}")

    def __str__(self) -> str:
        return f"{self.done - self.failed}/{self.total} done" + (f", {self.failed} failed" if self.failed else "")

    def _state(self) -> list[str]:
        return [*super()._state(), *([f"running {', '.join(self._running)}"] if self._running else [])]

    def _seconds_left(self, items: int) -> float:
        """Mean length of a job times the jobs left, over the workers; a running job is half done on average."""
        return self._busy / self.done * (items - len(self._running) / 2) / min(self._workers, items)


def duration(seconds: float) -> str:
    """A duration in words: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def warn(text: str) -> None:
    """Log one line of warning."""
    logging.getLogger("trigan").warning("trigan: warning: %s", text)

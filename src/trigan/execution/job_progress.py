"""What a pool's user sees: a bar with time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from trigan.execution.job import Job, JobResult


class JobProgress(Protocol):
    """Told by the pool what happens."""

    def started(self, job: Job) -> None:
        """A job has started."""

    def ended(self, ended: JobResult) -> None:
        """A job has ended."""

    def close(self) -> None:
        """All is done."""


class JobCount:
    """How many jobs are over, running and failed, and the time left at the pace so far."""

    def __init__(self, total: int, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.workers, self.clock = total, max(workers, 1), clock
        self.over = self.failed = self.running = 0
        self.busy = 0.0
        self.since = clock()

    def end(self, ended: JobResult) -> None:
        """Count a job that has ended."""
        self.running -= 1
        self.over += 1
        self.failed += not ended.ok
        self.busy += ended.seconds

    def left(self) -> str:
        """Time left: mean job length times what is to do, over the workers; empty before the first job has ended."""
        if not self.over or self.over == self.total:
            return ""
        to_do = self.total - self.over - self.running / 2
        return f"about {duration(self.busy / self.over * to_do / min(self.workers, self.total - self.over))} left"

    def __str__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.over - self.failed}/{self.total} done{failed}"


class LineProgress:
    """One line when a job ends, for logs and pipes."""

    def __init__(self, count: JobCount, out: TextIO | None = None) -> None:
        self._count, self._out = count, out or sys.stderr

    def started(self, job: Job) -> None:
        self._count.running += 1

    def ended(self, ended: JobResult) -> None:
        self._count.end(ended)
        how = duration(ended.seconds) if ended.ok else f"{ended.outcome.upper()} ({ended.reason}); log: {ended.log}"
        parts = [f"{self._count}", f"{ended.job.name}: {how}", self._count.left()]
        print("; ".join(part for part in parts if part), file=self._out, flush=True)

    def close(self) -> None:
        print(f"{self._count} in {duration(self._count.clock() - self._count.since)}", file=self._out, flush=True)


class BarProgress:
    """A bar that shows what runs; failures are printed above it."""

    def __init__(self, count: JobCount, console: Console) -> None:
        self._count = count
        self._names: list[str] = []
        failed = TextColumn("{task.fields[failed]}", style="red", markup=False)
        text = TextColumn("{task.description}", markup=False)  # names of jobs have brackets
        self._bar = Bar(BarColumn(30), MofNCompleteColumn(), failed, text, console=console, transient=True)
        self._task = self._bar.add_task("starting", total=count.total, failed="")
        self._bar.start()

    def started(self, job: Job) -> None:
        self._count.running += 1
        self._names.append(job.name)
        self._show()

    def ended(self, ended: JobResult) -> None:
        self._count.end(ended)
        self._names.remove(ended.job.name)
        if not ended.ok:
            text = f"{ended.job.name}: {ended.outcome.upper()} ({ended.reason}); log: {ended.log}"
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._show()

    def close(self) -> None:
        self._bar.stop()
        taken = duration(self._count.clock() - self._count.since)
        self._bar.console.print(f"{self._count} in {taken}", highlight=False)

    def _show(self) -> None:
        failed = f"{self._count.failed} failed" if self._count.failed else ""
        running = f"running {', '.join(self._names)}" if self._names else ""
        text = "  ".join(part for part in (self._count.left(), running) if part)
        self._bar.update(self._task, completed=self._count.over, description=text, failed=failed)


def show_progress(total: int, workers: int) -> JobProgress:
    """A bar on a terminal, lines elsewhere; both on standard error."""
    count, console = JobCount(total, workers), Console(stderr=True)
    return BarProgress(count, console) if console.is_terminal else LineProgress(count)


def duration(seconds: float) -> str:
    """A duration in words: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

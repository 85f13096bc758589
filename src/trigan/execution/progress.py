"""Progress on standard error: a bar on a terminal and in a notebook, a line now and then elsewhere."""

import logging
import threading
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from trigan.console import shows_bars
from trigan.errors import printable
from trigan.execution.job import Job, JobResult

_log = logging.getLogger("trigan.heartbeat")


class ProgressBar:
    """Progress of counted items; a context manager.

    ``total`` is None where it is unknown. With ``quiet`` there is neither bar nor line, but what `say` is given.
    """

    #: Seconds between two lines where there is no bar.
    line_interval = 10.0

    def __init__(
        self, description: str, total: int | None, quiet: bool = False, console: Console | None = None
    ) -> None:
        self.description, self.total, self.done, self.failed = description, total, 0, 0
        self.console = console or Console(stderr=True)
        self.has_bar = shows_bars(self.console)
        self.quiet = quiet
        self.started_at = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
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
        """Update the bar; where there is none, write a line if the last one is `line_interval` seconds old."""
        failed = f"{self.failed} failed" if self.failed else ""
        self._bar.update(self._task, completed=self.done, failed=failed, state="  ".join(self.state()))
        if not self.has_bar and not self.quiet and time.monotonic() - self._last_line >= self.line_interval:
            self.say("; ".join([str(self), *self.state()]))

    def say(self, text: str) -> None:
        """Write one line, above the bar if there is one."""
        self._last_line = time.monotonic()
        Heartbeat.heard()
        self.console.print(printable(text, "\n\t"), markup=False, highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        return f"{self.description}: {self.done}" + ("" if self.total is None else f" of {self.total}")

    def state(self) -> list[str]:
        """What follows the count: the time left, once it can be estimated."""
        if not self.done or self.total is None or self.done >= self.total:
            return []
        return [f"about {duration(self._seconds_left(self.total - self.done))} left"]

    def _seconds_left(self, items: int) -> float:
        return (time.monotonic() - self.started_at) / self.done * items


class JobProgress(ProgressBar):
    """Progress of ``total`` jobs, ``workers`` at a time. Where there is no bar, each job that ends has a line."""

    line_interval = 30.0

    def __init__(self, total: int, workers: int, console: Console | None = None) -> None:
        super().__init__("", total, console=console)
        self.running: list[str] = []
        self._workers, self._busy = max(workers, 1), 0.0

    def started(self, job: Job) -> None:
        """Show that a job has started."""
        self.running.append(job.name)

    def ended(self, result: JobResult) -> None:
        """Show that a job has ended."""
        self.running.remove(result.job.name)
        self.done, self.failed, self._busy = self.done + 1, self.failed + (not result.ok), self._busy + result.seconds
        failed = "" if result.ok else f"{result.outcome.upper()} ({result.failure}); log: {result.log}"
        line = f"{result.job.name}: {failed or duration(result.seconds)}"
        if not self.has_bar:
            self.say("; ".join([str(self), line, *super().state()]))
        elif failed:
            self.say(line)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.say(f"{self} in {duration(time.monotonic() - self.started_at)}")

    def __str__(self) -> str:
        return f"{self.done - self.failed}/{self.total} done" + (f", {self.failed} failed" if self.failed else "")

    def state(self) -> list[str]:
        """The time left, and what runs."""
        return [*super().state(), *([f"running {', '.join(self.running)}"] if self.running else [])]

    def _seconds_left(self, items: int) -> float:
        """Mean length of a job times the jobs left, over the workers; a running job is half done on average."""
        return self._busy / self.done * (items - len(self.running) / 2) / min(self._workers, items)


class Heartbeat(logging.Handler):
    """Inside this context, a line at least every half minute: the last message again, where nothing else was told.

    It is silent where progress bars can be shown.
    """

    interval = 25.0
    _told = 0.0  # when any line was written

    def __enter__(self) -> Self:
        self._message, self._since = "", time.monotonic()
        Heartbeat.heard()
        self._end = threading.Event()
        if not shows_bars(Console(stderr=True)):
            logging.getLogger("trigan").addHandler(self)
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        logging.getLogger("trigan").removeHandler(self)

    @staticmethod
    def heard() -> None:
        """Note that a line was written."""
        Heartbeat._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a message."""
        Heartbeat.heard()
        if record.name != _log.name:
            self._message, self._since = record.getMessage(), time.monotonic()

    def _beat(self) -> None:
        while not self._end.wait(min(1.0, self.interval / 2)):
            if time.monotonic() - Heartbeat._told >= self.interval:
                _log.info(
                    "working for %s since: %s", duration(time.monotonic() - self._since), self._message or "start"
                )


def duration(seconds: float) -> str:
    """A duration in words: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total >= 60 else f"{total} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def warn(text: str) -> None:
    """Write one line of warning."""
    Console(stderr=True).print(f"trigan: warning: {printable(text)}", markup=False, highlight=False, soft_wrap=True)

"""Workers for one command: they get ready while its jobs are being checked, then run them with progress shown."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from trigan.execution.gpus import GpuSlots, visible_gpus
from trigan.execution.job import Job, JobResult
from trigan.execution.job_progress import show_progress
from trigan.execution.launchers import ExecLauncher, ForkLauncher, Launcher
from trigan.execution.pool import Pool, cores


class LocalEngine:
    """A context: inside it, :meth:`run` may be called several times.

    On Linux jobs are forks of a server, whose imports begin at once, in the background. Elsewhere (macOS' libraries
    don't fork), and where an import has started a thread, each job is a new interpreter.

    Args:
        workers: jobs at once, which may share GPUs; None: one per core that a job needs, or
            as many as have GPUs of their own.
        minutes: that a job may take; None: as long as it does.
    """

    def __init__(self, workers: int | None, minutes: int | None = None) -> None:
        self._workers = workers
        self.seconds = minutes * 60.0 if minutes else None
        self._launcher: Launcher | None = None

    def __enter__(self) -> "LocalEngine":
        self._forks = ForkLauncher() if sys.platform == "linux" else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._forks is not None:
            self._forks.close()

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        """Run jobs through the pool; see :meth:`trigan.execution.pool.Pool.run`."""
        if not jobs:
            return []
        slots = GpuSlots(visible_gpus() if any(job.resources.gpu for job in jobs) else ())
        slots.check(jobs)
        most = max(1, cores() // max(job.resources.cores for job in jobs))  # never more threads than cores
        at_once = min(self._workers or slots.workers(jobs) or most, most, len(jobs))
        launcher, shown = self.launcher(), show_progress(len(jobs), at_once)
        try:
            return Pool(launcher, at_once, logs, self.seconds, slots=slots).run(jobs, shown)
        finally:
            shown.close()

    def launcher(self) -> Launcher:
        """What starts this command's jobs; waits for the imports that began with the context."""
        if self._launcher is None:
            count = self._forks.threads() if self._forks is not None else 0
            if self._forks is not None and count == 1:
                self._launcher = self._forks
            else:
                if count:
                    print(f"trigan: an import started {count - 1} threads, so each job imports anew", file=sys.stderr)
                self._launcher = ExecLauncher()
        return self._launcher

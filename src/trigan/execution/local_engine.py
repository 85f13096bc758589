"""Jobs as processes of this machine, with progress shown."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from trigan.execution.job import Job, JobResult
from trigan.execution.launchers import ExecLauncher, ForkLauncher, Launcher
from trigan.execution.pool import GpuSlots, Pool, cores, visible_gpus
from trigan.execution.progress import JobProgress

_log = logging.getLogger("trigan")


class LocalEngine:
    """A context manager; inside it, `run` may be called several times.

    On Linux jobs are forks of a server, whose imports begin when the context is entered, in the background. Elsewhere
    (macOS' libraries cannot be forked), and where an import has started a thread, each job is a new interpreter.

    Args:
        workers: jobs at a time; None: as many as cores allow, and as GPUs allow without sharing.
        minutes: time limit of a job; None: no limit.
    """

    def __init__(self, workers: int | None, minutes: int | None = None) -> None:
        self._workers = workers
        self.seconds = minutes * 60.0 if minutes else None
        self._forks: ForkLauncher | None = None
        self._launcher: Launcher | None = None

    def __enter__(self) -> Self:
        if sys.platform == "linux":
            try:
                self._forks = ForkLauncher()
            except OSError as error:
                _log.warning("trigan: no fork server (%s), so each job imports anew", error)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._forks:
            self._forks.close()

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        """Run jobs through the pool; see `trigan.execution.pool.Pool.run`."""
        if not jobs:
            return []
        slots = GpuSlots(visible_gpus() if any(job.resources.gpu for job in jobs) else ())
        unshared = slots.workers(jobs)
        most = max(1, cores() // max(job.resources.cores for job in jobs))  # never more threads than cores
        workers = min(self._workers or unshared or most, most, len(jobs))
        pool = Pool(self.launcher(), workers, logs, self.seconds, slots=slots)
        with JobProgress(len(jobs), workers) as progress:
            return pool.run(jobs, progress)

    def launcher(self) -> Launcher:
        """What starts the jobs; waits for the imports that began with the context."""
        if self._launcher is None:
            threads = self._forks.threads() if self._forks else 0
            if threads > 1:
                _log.warning("trigan: an import started %d threads, so each job imports anew", threads - 1)
            self._launcher = self._forks if self._forks and threads == 1 else ExecLauncher()
        return self._launcher

"""The pool: so many jobs at once, each a process; one that fails, hangs or is killed never ends the others."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.atomic import wrap_os_errors
from trigan.errors import TriganError
from trigan.execution.gpus import GpuSlots
from trigan.execution.job import TIMED_OUT, Job, JobResult, log_name
from trigan.execution.job_progress import JobProgress
from trigan.execution.launchers import Launcher

_POLL = 0.05


class Interrupted(TriganError):
    """Ctrl-C or SIGTERM reached the pool; its jobs have been ended."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


@dataclass(frozen=True)
class Pool:
    """Runs jobs, ``workers`` at a time.

    Args:
        launcher: how a job's process is started.
        workers: jobs at once; more than there are cores are not used.
        logs: folder for one log per job.
        timeout: seconds that a job may take; none by default.
        grace: seconds between SIGTERM and SIGKILL.
        slots: the GPUs that jobs share.
    """

    launcher: Launcher
    workers: int
    logs: Path
    timeout: float | None = None
    grace: float = 15.0
    slots: GpuSlots = field(default_factory=lambda: GpuSlots(()))

    def run(self, jobs: Sequence[Job], progress: JobProgress) -> list[JobResult]:
        """Run all jobs and give how they ended, in the order of ``jobs``.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; by then every job has been ended, and finished ones keep their results.
        """
        with wrap_os_errors(self.logs):
            self.logs.mkdir(parents=True, exist_ok=True)
        state = _State(list(jobs), {}, {}, {})
        with deferred_signals() as caught:
            while state.waiting or state.running:
                if caught:
                    self._end_all(state, caught)
                    done = sum(e.ok for e in state.ended.values())
                    raise Interrupted(
                        f"stopped with {done} of {len(jobs)} done; the same command goes on from there", caught[0]
                    )
                self._start(state, progress)
                self._collect(state, progress)
                self._enforce(state)
                time.sleep(_POLL)
        return [state.ended[job.name] for job in jobs]

    def _start(self, state: "_State", progress: JobProgress) -> None:
        while state.waiting and len(state.running) < min(self.workers, cores()):
            job = state.waiting.pop(0)
            log = self.logs / log_name(job.name)
            log.unlink(missing_ok=True)
            self.launcher.start(job, log, self.slots.allocate(job))
            state.running[job.name] = _Running(job, log, time.monotonic())
            progress.started(job)

    def _collect(self, state: "_State", progress: JobProgress) -> None:
        for name, code in self.launcher.ended().items():
            one = state.running.pop(name)
            self.slots.release(one.job)
            code = TIMED_OUT if name in state.overdue else code
            empty = one.job.directory is not None and not one.job.finished
            ended = JobResult(one.job, code, time.monotonic() - one.since, one.log, empty)
            ended.mark()
            state.ended[name] = ended
            progress.ended(ended)

    def _enforce(self, state: "_State") -> None:
        """SIGTERM to jobs that are out of time, and SIGKILL to those that stay."""
        now = time.monotonic()
        for name, one in state.running.items():
            if name in state.overdue:
                if now - state.overdue[name] > self.grace:
                    self.launcher.signal(name, signal.SIGKILL)
            elif self.timeout is not None and now - one.since > self.timeout:
                state.overdue[name] = now
                self.launcher.signal(name, signal.SIGTERM)

    def _end_all(self, state: "_State", caught: list[int]) -> None:
        """SIGTERM, a wait, SIGKILL; a second Ctrl-C shortens the wait."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            signals = len(caught)
            for name in state.running:
                self.launcher.signal(name, number)
            until = time.monotonic() + self.grace
            while state.running and time.monotonic() < until and len(caught) == signals:
                for name in self.launcher.ended():
                    state.running.pop(name, None)
                time.sleep(_POLL)


@dataclass
class _Running:
    job: Job
    log: Path
    since: float


@dataclass
class _State:
    waiting: list[Job]
    running: dict[str, _Running]
    ended: dict[str, JobResult]
    overdue: dict[str, float]


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in place of acting on them at once, so that children are ended first."""
    caught: list[int] = []

    def catch(number: int, frame: Any) -> None:
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Jobs as processes of this machine, several at a time; one that fails, hangs or is killed ends no other."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from trigan.atomic import make_folder, wrap_os_errors
from trigan.errors import ConfigError, TriganError
from trigan.execution.gpu_sharing import multi_process_service
from trigan.execution.job import BATCH_VARIABLE, Job, JobResult, log_name
from trigan.execution.launchers import ExecLauncher, ForkLauncher, Launcher
from trigan.execution.progress import JobProgress
from trigan.execution.supervisor import GRACE, POLL, deferred_signals

_log = logging.getLogger("trigan")
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


class Interrupted(TriganError):
    """Ctrl-C or SIGTERM reached the pool, which has ended its jobs."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class GpuSlots:
    """The GPUs of this machine, named as in ``CUDA_VISIBLE_DEVICES``, and the jobs on them."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._users: dict[str, set[str]] = {device: set() for device in devices}
        self._service: Mapping[str, str] = {}

    def workers(self, jobs: Sequence[Job]) -> int | None:
        """Number of jobs at a time, as many on a GPU as all of them allow; None where no job needs one."""
        needed = [(job.resources.processes, job.name) for job in jobs if job.resources.gpu]
        if not needed or not self._users:
            return None
        most, name = max(needed)
        if most > len(self._users):
            raise ConfigError(f"{name}: trainer.devices={most}, and {len(self._users)} GPUs are visible")
        return len(self._users) // most * min(job.resources.jobs_per_gpu for job in jobs if job.resources.gpu)

    @contextmanager
    def shared(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Within it, jobs that share a GPU compute at once where `multi_process_service` starts, else in turns."""
        if not self._users or not any(job.resources.gpu and job.resources.jobs_per_gpu > 1 for job in jobs):
            yield
            return
        with multi_process_service() as self._service:
            yield

    def allocate(self, job: Job) -> Mapping[str, str]:
        """The environment that gives a job its GPUs: those with the fewest users, the first of equals."""
        if not job.resources.gpu or not self._users:
            return {}
        by_users = sorted(self._users, key=lambda device: len(self._users[device]))
        chosen = sorted(by_users[: job.resources.processes], key=list(self._users).index)
        for device in chosen:
            self._users[device].add(job.name)
        return {**self._service, GPU_VARIABLE: ",".join(chosen)}

    def release(self, job: Job) -> None:
        """Take back the GPUs of a job that has ended."""
        for users in self._users.values():
            users.discard(job.name)


def cores() -> int:
    """Processor cores that this process may use: its affinity, and the CPU quota of its container (cgroup)."""
    from joblib import cpu_count

    return int(cpu_count())


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, from the environment, or else from torch."""
    names = os.environ.get(GPU_VARIABLE)
    if names is not None:
        return tuple(name.strip() for name in names.split(",") if name.strip() not in ("", "-1"))
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))


def jobs_at_once(workers: int | None, jobs: Sequence[Job], gpus: GpuSlots) -> int:
    """How many jobs like these run at a time: ``workers``, or as GPUs allow; never with more threads than cores."""
    most = max(1, cores() // max(job.resources.cores for job in jobs))
    return min(workers or gpus.workers(jobs) or most, most)


class LocalEngine:
    """Runs jobs on this machine, with progress shown. A context manager; inside it, `run` may be called several times.

    On Linux jobs are forks of a server, whose imports begin when the context is entered, in the background. Elsewhere
    (macOS' libraries cannot be forked), and where an import has started a thread, each job is a new interpreter.

    Args:
        workers: jobs at a time; None: as many as cores allow, and as GPUs allow with `Resources.jobs_per_gpu` on each.
        minutes: time limit of a job, which then gets SIGTERM; None: no limit.
        launcher: another way to start jobs than that.
        grace: seconds from SIGTERM to SIGKILL.
    """

    def __init__(
        self, workers: int | None, minutes: float | None = None, launcher: Launcher | None = None, grace: float = GRACE
    ) -> None:
        self._workers, self._launcher, self._grace = workers, launcher, grace
        self.seconds = minutes * 60.0 if minutes else None
        self._forks: ForkLauncher | None = None

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
        """Run all jobs, one log each, and return their results, in their order.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; all jobs have been ended, and finished ones keep their records.
        """
        if not jobs:
            return []
        slots = GpuSlots(visible_gpus() if any(job.resources.gpu for job in jobs) else ())
        workers, launcher = self.at_once(jobs, slots), self.launcher()
        with wrap_os_errors(logs):
            make_folder(logs)
        paths = {job.name: logs / log_name(job.name) for job in jobs}
        waiting, running, results = list(jobs), dict[str, tuple[Job, float]](), dict[str, JobResult]()
        with slots.shared(jobs), JobProgress(len(jobs), workers) as progress, deferred_signals() as caught:
            try:
                while (waiting or running) and not caught:
                    while waiting and len(running) < workers:
                        job = waiting.pop(0)
                        paths[job.name].unlink(missing_ok=True)
                        launcher.start(job, paths[job.name], {**slots.allocate(job), BATCH_VARIABLE: "1"})
                        running[job.name] = job, time.monotonic()
                        progress.started(job)
                    for name, code in launcher.ended(self.seconds, self._grace).items():
                        job, started = running.pop(name)
                        slots.release(job)
                        no_record = job.directory is not None and not job.finished
                        results[name] = JobResult(job, code, time.monotonic() - started, paths[name], no_record)
                        results[name].mark()
                        progress.ended(results[name])
                    progress.refresh()
                    time.sleep(POLL)
            finally:
                launcher.end_all(self._grace, caught)
        if waiting or running:
            done = sum(one.ok for one in results.values())
            raise Interrupted(
                f"stopped with {done} of {len(jobs)} done; the same command continues from there", caught[0]
            )
        return [results[job.name] for job in jobs]

    def at_once(self, jobs: Sequence[Job], slots: GpuSlots) -> int:
        """How many of the jobs run at a time."""
        return min(jobs_at_once(self._workers, jobs, slots), len(jobs))

    def launcher(self) -> Launcher:
        """What starts the jobs; waits for the imports that began with the context."""
        if self._launcher is None:
            threads = self._forks.threads() if self._forks else 0
            if threads > 1:
                _log.warning("trigan: an import started %d threads, so each job imports anew", threads - 1)
            self._launcher = self._forks if self._forks and threads == 1 else ExecLauncher()
        return self._launcher

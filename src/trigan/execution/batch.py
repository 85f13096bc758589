"""Several runs as one piece of work: finished jobs are found, those that failed before left out, the rest run."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trigan.errors import ArtifactError, ConfigError
from trigan.execution.engines import LOCAL, EngineChoice
from trigan.execution.job import Job, JobResult
from trigan.execution.pool import LocalEngine
from trigan.records import failure
from trigan.records.failure import Failure
from trigan.records.file_index import FileIndex
from trigan.records.record import RECORD_NAME, read_indexed

_log = logging.getLogger("trigan")
#: Jobs that a line names; it counts the others.
_NAMED = 5


class Engine(Protocol):
    """What runs jobs: processes of this machine (`trigan.execution.pool.LocalEngine`), or a cluster."""

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        """Run all jobs, one log each, and return their results, in their order."""


@dataclass(frozen=True)
class BatchSummary:
    """How many jobs had a record, the results of those that ran, and those left out: they failed in an earlier call.

    ``diverged``: how many of the jobs with a record diverged.
    """

    found: int = 0
    ended: tuple[JobResult, ...] = ()
    left_out: tuple[tuple[Job, Failure], ...] = ()
    diverged: int = 0

    def __add__(self, other: "BatchSummary") -> "BatchSummary":
        both = self.found + other.found, self.ended + other.ended, self.left_out + other.left_out
        return BatchSummary(*both, self.diverged + other.diverged)

    @property
    def code(self) -> int:
        """0 if every job has its record, else 1."""
        return int(bool(self.left_out) or not all(one.ok for one in self.ended))

    def line(self, waiting: int = 0) -> str:
        """The summary as one line; ``waiting``: number of jobs that need others' results first."""
        failed, stopped = [[e for e in self.ended if e.outcome == kind] for kind in ("failed", "stopped")]
        how = Counter(one.how for one in failed)
        parts = [
            f"{len(self.ended) - len(failed) - len(stopped)} done",
            f"{self.found} found finished" if self.found else "",
            f"{len(failed)} failed ({', '.join(f'{n} {how}' for how, n in how.most_common())})" if failed else "",
            f"{len(stopped)} stopped from outside (the same command runs them again)" if stopped else "",
            f"{len(self.left_out)} skipped because they failed before (--retry runs them again)"
            if self.left_out
            else "",
            f"{waiting} not run, needing the compute of others" if waiting else "",
            f"{self.diverged} of {self.found + sum(one.ok for one in self.ended)} diverged" if self.diverged else "",
        ]
        total = self.found + len(self.ended) + len(self.left_out) + waiting
        return f"{total} jobs: {', '.join(part for part in parts if part)}"


def run_batch(engine: Engine, jobs: Sequence[Job], logs: Path, retry: bool, force: bool = False) -> BatchSummary:
    """Run the jobs that have no record, and log those that fail; jobs with the same directory are one job.

    ``retry`` also runs what failed in an earlier call, ``force`` runs everything.
    """
    unique = list({job.directory or job.name: job for job in jobs}.values())
    to_do, left_out = [], []
    for job in unique if force else [job for job in unique if not job.finished]:
        mark = failure.read(job.directory) if job.directory else None
        if mark is not None and not (retry or force):
            left_out.append((job, mark))
        else:
            to_do.append(job)
            if mark is not None and job.directory:
                failure.remove(job.directory)  # if this call is killed before the job runs, the job is missing
    if left_out:
        names = "; ".join(f"{job.name} ({mark})" for job, mark in left_out[:_NAMED])
        more = f"; and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        _log.warning("skipped because they failed before (--retry runs them again): %s%s", names, more)
    ended = engine.run(to_do, logs)
    for one in ended:
        if not one.ok:
            _log.warning("%s: %s (%s); log: %s", one.outcome, one.job.name, one.failure, one.log)
    found = len(unique) - len(to_do) - len(left_out)
    return BatchSummary(found, tuple(ended), tuple(left_out), _count_diverged(unique))


def _count_diverged(jobs: Sequence[Job]) -> int:
    """How many of the jobs have a record that says so; a damaged record is told where it is used."""
    folders = [job.directory for job in jobs if job.directory is not None and job.finished]
    states = []
    for root in {folder.parent for folder in folders}:
        with FileIndex(root) as index:
            for folder in (one for one in folders if one.parent == root):
                with suppress(ArtifactError):
                    states.append(read_indexed(folder / RECORD_NAME, index)["result"]["status"])
    return states.count("diverged")


def warn_about_stale_records(versions: Mapping[str, int], current: int | str) -> None:
    """Log that records of these jobs from another protocol version are not used; ``versions``: how many of each."""
    if versions:
        counts = ", ".join(f"{count} of version {version}" for version, count in sorted(versions.items()))
        message = "not used: records of these jobs under another protocol version (%s; this is %s); "
        _log.warning(message + "the jobs run anew, and the old records stay where they are", counts, current)


def engine(choice: EngineChoice, workers: int | None, minutes: int | None) -> AbstractContextManager[Engine]:
    """The engine, ready to run jobs inside the context."""
    if choice.name == LOCAL:
        return LocalEngine(workers, minutes)
    if workers is not None:
        setting = {"ray": "+hydra.launcher.ray.init.num_cpus=N", "submitit_slurm": "hydra.launcher.array_parallelism=N"}
        limit = f"; it has {setting[choice.name]}" if choice.name in setting else ""
        raise ConfigError(f"--workers: how many jobs run at a time is up to {choice.name}{limit}")
    from trigan.execution.cluster import ClusterEngine

    return nullcontext(ClusterEngine(choice, minutes))

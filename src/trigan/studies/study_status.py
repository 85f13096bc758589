"""Where a study stands: which jobs are done, running, failed or missing, what they cost, and what is left to run."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from trigan.atomic import is_locked
from trigan.errors import ArtifactError
from trigan.execution.job import shell_line
from trigan.execution.pool import cores
from trigan.execution.progress import duration
from trigan.execution.supervisor import TRIGAN
from trigan.records import failure
from trigan.records.file_index import FileIndex
from trigan.records.record import Record, read_indexed
from trigan.studies.jobs import StudyJob, StudyJobs

State = Literal["done", "running", "failed", "missing"]


class RowCost(NamedTuple):
    """What a run takes: seconds of its process and counted operations."""

    seconds: float
    flops: float


@dataclass(frozen=True)
class JobStatus:
    """A job and its state on disk.

    Attributes:
        state: ``failed``: the run left the mark of a failure, has no record, and no process is running it.
        reason: how a failed run ended.
        cost: of a finished run; None where the record does not tell.
    """

    job: StudyJob
    state: State
    reason: str = ""
    cost: RowCost | None = None


def job_statuses(jobs: StudyJobs) -> list[JobStatus]:
    """The state of every job on disk, those that wait for others' compute last."""
    statuses, index = [], FileIndex(jobs.runs)
    for job in jobs.runnable:
        lock = job.record_path.parents[1] / ".locks" / f"{job.record_path.parent.name}.lock"
        state: State = "done" if job.done else "running" if is_locked(lock) else "missing"
        mark, cost, damage = failure.read(job.record_path.parent) if state == "missing" else None, None, ""
        if state == "done":
            try:
                cost = _cost(read_indexed(job.record_path, index))
            except ArtifactError as error:
                damage = str(error)
        statuses.append(JobStatus(job, "failed" if mark or damage else state, damage or str(mark or ""), cost))
    index.save()
    return statuses + [JobStatus(job, "missing") for job in jobs.waiting]


def _cost(record: Record) -> RowCost | None:
    try:
        return RowCost(float(record["provenance"]["seconds"]), float(record["result"]["cost"]["flops"] or 0))
    except (KeyError, TypeError, ValueError):
        return None


def mean_row_costs(statuses: Sequence[JobStatus]) -> dict[str, RowCost]:
    """The mean cost of the finished runs of each row."""
    costs: dict[str, list[RowCost]] = {}
    for one in statuses:
        if one.cost:
            costs.setdefault(one.job.row.name, []).append(one.cost)
    return {row: RowCost(*map(fmean, zip(*each, strict=True))) for row, each in costs.items()}


def time_left(statuses: Sequence[JobStatus], workers: int | None) -> str:
    """The time that unfinished jobs will take, in words; a row without a finished run takes the mean of the others."""
    rows = [one.job.row.name for one in statuses if one.state != "done"]
    costs = mean_row_costs(statuses)
    if not rows:
        return "nothing is left to do"
    if not costs:
        return "time left: not known before the first job is done"
    mean = fmean(cost.seconds for cost in costs.values())
    seconds = sum(costs[row].seconds if row in costs else mean for row in rows)
    at_once = min(workers or cores(), cores(), len(rows))
    note = "" if set(rows) <= costs.keys() else ", rows without a finished run taken as the mean of the others"
    return f"about {duration(seconds / at_once)} left with {at_once} at a time{note}"


def status_summary(statuses: Sequence[JobStatus], workers: int | None) -> str:
    """How many jobs are in each state, and the time left, in one line."""
    counts = Counter(job.state for job in statuses)
    parts = [f"{counts['done']} of {len(statuses)} jobs done"]
    parts += [f"{counts[state]} {state}" for state in ("running", "failed", "missing") if counts[state]]
    return f"{', '.join(parts)}; {time_left(statuses, workers)}"


def job_list(statuses: Sequence[JobStatus], extra: Sequence[str], retry: bool) -> list[str]:
    """One shell command for each job that can run now, with ``retry`` also for those that failed, for any queue.

    A command is idempotent and resumes an earlier attempt: a queue may run it as often as it likes, on any machine
    that shares this folder. ``extra`` precedes every job's settings.
    """
    script = Path(sys.executable).with_name("trigan")  # works without an activated environment
    trigan = [str(script)] if script.exists() else TRIGAN
    states = ("missing", "running", *(["failed"] if retry else []))
    listed = {one.job.hash: one.job for one in statuses if one.job.hash and one.state in states}
    return [shell_line([*trigan, "run", *extra, *job.arguments]) for job in listed.values()]

"""``trigan study NAME --status``: which jobs are done, running, failed or missing, and the time that is left."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from filelock import FileLock, Timeout

from trigan.execution.pool import cores
from trigan.execution.progress import duration
from trigan.execution.shell import shell_line
from trigan.records import failure
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.tables.layout.formatting import format_flops

State = Literal["done", "running", "failed", "missing"]


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands. ``reason``: how a failed one ended."""

    cell: StudyJob
    state: State
    reason: str = ""


@dataclass(frozen=True)
class RowCost:
    """What a run of a row takes: seconds of its process and counted operations."""

    seconds: float
    flops: float


def job_statuses(cells: Sequence[StudyJob]) -> list[JobStatus]:
    """Each job as it stands on disk. ``failed`` is one that has left the mark of it, no record, and nobody at work."""
    found = []
    for cell in cells:
        if cell.done:
            found.append(JobStatus(cell, "done"))
        elif _at_work(cell):
            found.append(JobStatus(cell, "running"))
        elif mark := failure.read(cell.record_path.parent):
            found.append(JobStatus(cell, "failed", str(mark)))
        else:
            found.append(JobStatus(cell, "missing"))
    return found


def _at_work(cell: StudyJob) -> bool:
    """Whether a process holds the run's lock."""
    directory = cell.record_path.parent
    path = directory.parent / ".locks" / f"{directory.name}.lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def mean_row_costs(cells: Sequence[StudyJob]) -> dict[str, RowCost]:
    """What the finished runs of each row took, on average."""
    spent: dict[str, list[RowCost]] = {}
    for cell in cells:
        if cell.done and (found := _expense(cell.record_path)):
            spent.setdefault(cell.row.name, []).append(found)
    return {
        row: RowCost(fmean(one.seconds for one in all_), fmean(one.flops for one in all_))
        for row, all_ in spent.items()
    }


def _expense(record: Path) -> RowCost | None:
    try:
        content: dict[str, Any] = json.loads(record.read_bytes())
        return RowCost(float(content["provenance"]["seconds"]), float(content["result"]["cost"]["flops"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def time_left(to_do: Sequence[str], spent: dict[str, RowCost], workers: int | None) -> str:
    """The time that jobs of the rows ``to_do`` will take, in words; a row without a finished run takes the mean."""
    if not to_do:
        return "nothing is left to do"
    if not spent:
        return "time left: not known before the first job is done"
    mean = fmean(one.seconds for one in spent.values())
    seconds = sum(spent[row].seconds if row in spent else mean for row in to_do)
    at_once = min(workers or cores(), cores(), len(to_do))
    guess = (
        "" if all(row in spent for row in to_do) else ", rows without a finished run taken as the mean of the others"
    )
    return f"about {duration(seconds / at_once)} left with {at_once} at a time{guess}"


def show_status(jobs: StudyJobs, workers: int | None) -> None:
    """Print one line a job, and the sum."""
    seen = job_statuses(jobs.runnable)
    for one in seen:
        said = f"  ({one.reason})" if one.reason else ""
        print(f"{one.state:7}  {one.cell.hash}  {one.cell.name}{said}")
    for row, column, trial in jobs.waiting:
        print(f"missing  {'after the others':20}  {row}, {column}, trial {trial}")
    counts = Counter(one.state for one in seen) + Counter({"missing": len(jobs.waiting)})
    parts = [f"{counts['done']} of {len(jobs)} jobs done"]
    parts += [f"{counts[state]} {state}" for state in ("running", "failed", "missing") if counts[state]]
    to_do = [one.cell.row.name for one in seen if one.state != "done"] + [row for row, _, _ in jobs.waiting]
    print(f"{', '.join(parts)}; {time_left(to_do, mean_row_costs(jobs.runnable), workers)}")


def show_plan(jobs: StudyJobs, extra: Sequence[str], cost: str, workers: int | None) -> None:
    """Print each job, the command of those to do, and what they will cost: as far as finished runs tell.

    Args:
        extra: what goes before every job's settings.
        cost: as the study's file states it.
    """
    spent = mean_row_costs(jobs.runnable)
    for cell in jobs.runnable:
        print(f"{'done' if cell.done else 'to do':5}  {cell.hash}  {cell.name}{_price(cell.row.name, spent)}")
        if not cell.done:
            print("       " + shell_line(["trigan", "run", *extra, *cell.arguments]))
    for row, column, trial in jobs.waiting:
        print(f"to do  {'after the others':20}  {row}, {column}, trial {trial}{_price(row, spent)}")
    to_do = [c.row.name for c in jobs.runnable if not c.done] + [row for row, _, _ in jobs.waiting]
    stated = f"; the study's file says: {cost}" if cost else ""
    print(f"{len(jobs) - len(to_do)} of {len(jobs)} jobs done; {time_left(to_do, spent, workers)}{stated}")


def _price(row: str, spent: dict[str, RowCost]) -> str:
    return (
        f"  ({duration(spent[row].seconds)}, {format_flops(spent[row].flops)} as its row so far)"
        if row in spent
        else ""
    )

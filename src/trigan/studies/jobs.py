"""A study's jobs: where each stands in the table, what it runs, and where its record will be."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.config.settings import Resources
from trigan.errors import ArtifactError
from trigan.studies.study_file import GridEntry, StudyFile


@dataclass(frozen=True)
class StudyJob:
    """One job of a study.

    Attributes:
        arguments: what follows ``trigan run``.
        needs: known of a job that was just composed, which is when it may run; a kept list has it not.
    """

    row: GridEntry
    column: GridEntry
    trial: int
    arguments: tuple[str, ...]
    hash: str
    record_path: Path
    resources: Resources = field(default=Resources(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.row.name}, {self.column.name}, trial {self.trial}"

    @property
    def done(self) -> bool:
        return self.record_path.is_file()


@dataclass(frozen=True)
class StudyJobs:
    """All jobs of a study.

    Attributes:
        runnable: those that can run, or have run.
        waiting: (row, column, trial) of those that are given the compute of others that are not done.
        outputs: ``paths.outputs``.
        variant: the user's overrides where they change what is computed, else an empty text.
        debug: whether these are debug runs, which enter no table.
    """

    runnable: tuple[StudyJob, ...]
    waiting: tuple[tuple[str, str, int], ...]
    outputs: Path
    variant: str
    debug: bool

    def __len__(self) -> int:
        return len(self.runnable) + len(self.waiting)

    @property
    def runs(self) -> Path:
        """Where the runs are, each in its own folder."""
        return self.runnable[0].record_path.parents[1]

    def folder(self, study: StudyFile) -> Path:
        """Where the study's table and pages go."""
        return self.outputs / "studies" / study.name / (study.scale or "")

    def logs(self, study: str) -> Path:
        """Where the jobs' logs are."""
        return self.outputs / "logs" / study


def unmatched_jobs_done(cells: Iterable[StudyJob], column: str, trial: int) -> bool:
    """Whether the jobs of a column and trial, but for those matched to them, are all done."""
    return all(c.done for c in cells if c.column.name == column and c.trial == trial and not c.row.match)


def record_flops(record: Path) -> int:
    """The counted cost of a finished run."""
    try:
        content: dict[str, Any] = json.loads(record.read_bytes())
        return int(content["result"]["cost"]["flops"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{record}: not a sound record; run its command again with --force") from error

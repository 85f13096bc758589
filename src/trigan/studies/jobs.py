"""A study's jobs: where each stands in the table, what it runs, and where its record will be."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigan.config.settings import Resources
from trigan.errors import ConfigError
from trigan.studies.study_file import GridEntry, StudyFile


@dataclass(frozen=True)
class StudyJob:
    """One job of a study.

    Attributes:
        arguments: what follows ``trigan run``; this, hash and record are empty while the job's compute is not known.
        resources: known of a job that was just composed; the list on disk does not have them.
    """

    row: GridEntry
    column: GridEntry
    trial: int
    arguments: tuple[str, ...] = ()
    hash: str = ""
    record_path: Path = Path()
    resources: Resources = field(default=Resources(), compare=False)

    @property
    def name(self) -> str:
        """Row, column and trial, as messages name the job."""
        return f"{self.row.name}, {self.column.name}, trial {self.trial}"

    @property
    def done(self) -> bool:
        """Whether the record exists."""
        return self.record_path.is_file()


@dataclass(frozen=True)
class StudyJobs:
    """All jobs of a study.

    Attributes:
        runnable: jobs that can run, or have run.
        waiting: jobs that are given the compute of another that is not done.
        outputs: ``paths.outputs``.
        variant: the user's overrides where they change what is computed, else an empty text.
        debug: whether these are debug runs, which enter no table.
        logger: the logger's config, known of jobs that were just composed.
    """

    runnable: tuple[StudyJob, ...]
    waiting: tuple[StudyJob, ...]
    outputs: Path
    variant: str
    debug: bool
    logger: Mapping[str, Any] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.runnable) + len(self.waiting)

    @property
    def done(self) -> list[StudyJob]:
        """The jobs that have a record."""
        return [job for job in self.runnable if job.done]

    @property
    def runs(self) -> Path:
        """The folder of the runs' own folders."""
        return self.runnable[0].record_path.parents[1]

    def folder(self, study: StudyFile) -> Path:
        """The folder of the study's table and pages."""
        return self.outputs / "studies" / study.name / (study.scale or "")

    def named(self, study: StudyFile) -> StudyFile:
        """The study, under a name of its own where overrides change what is computed; a ConfigError for debug runs."""
        if self.debug:
            raise ConfigError("debug runs enter no table and no report; leave debug=... out")
        return variant_of(study, self.variant)


def variant_of(study: StudyFile, variant: str) -> StudyFile:
    """The study, under a name of its own with overrides that change what is computed."""
    if not variant:
        return study
    name = f"{study.name}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
    return study.model_copy(update={"name": name, "title": f"{study.title} (with {variant})"})


def matched_job(jobs: Iterable[StudyJob], matched: StudyJob) -> StudyJob:
    """The job of ``matched``'s column and trial whose compute it is given."""
    place = matched.column.name, matched.trial, matched.row.match
    return next(job for job in jobs if (job.column.name, job.trial, job.row.name) == place)


def no_finished_runs(study: StudyFile, where: str) -> ConfigError:
    """The error of a command that shows the results of a study without any."""
    return ConfigError(f"study {study.name}: no run is finished {where}; `trigan study {study.name}` runs it")

"""A study's jobs: rows x columns x trials, each a checked run with its hash, its record and its place in the table."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trigan.config.compose import Composer, RunConfig
from trigan.config.run_hash import run_hash
from trigan.errors import ArtifactError, ConfigError
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import StudyJob, StudyJobs, unmatched_jobs_done
from trigan.studies.study_file import GridEntry, StudyFile

#: Row, column and trial.
Position = tuple[GridEntry, GridEntry, int]


class StudyPlan:
    """Composes the jobs of a study, strictly, all of them before the first one runs.

    Args:
        composer: of the config.
        study: a study at a scale.
        overrides: the user's own, on top of every job's; one below a choice that some jobs make, on top of theirs.

    Raises:
        ConfigError: an override changes what distinguishes a job's row, column or trial.
    """

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str] = ()) -> None:
        self._below = _refuse_clashes(study, overrides)
        self._composer, self._study, self._overrides = composer, study, tuple(overrides)
        self._grid = [(row, column, trial) for row in study.rows for column in study.columns for trial in study.trials]
        self._fingerprints: dict[str, str] = {}

    def jobs(self) -> StudyJobs:
        """All jobs; those that are given others' compute as far as it is known.

        Trials change fastest: neighbours in the queue then never wait for one another's GAN stage, and the next row
        finds it ready.
        """
        jobs = tuple(self._job(position) for position in self._grid if not position[0].match)
        for position in self._grid:
            if position[0].match:  # checked now, with a stand-in for the compute
                self._compose(position, matched_flops_override(1))
        first = self.first()
        debug, logger = first.debug is not None, first.config.get("logger")
        return self.with_matched(StudyJobs(jobs, (), first.paths.outputs, self.variant(), debug, logger))

    def with_matched(self, jobs: StudyJobs) -> StudyJobs:
        """Adds the jobs that are given the compute of the most expensive one of their column and trial, once known."""
        unmatched = [job for job in jobs.runnable if not job.row.match]
        matched, waiting = [], []
        for row, column, trial in self._grid:
            if not row.match:
                continue
            if unmatched_jobs_done(unmatched, column.name, trial):
                peers = [job for job in unmatched if job.column == column and job.trial == trial]
                flops = max(record_flops(job.record_path) for job in peers)
                matched.append(self._job((row, column, trial), matched_flops_override(flops)))
            else:
                waiting.append((row.name, column.name, trial))
        return replace(jobs, runnable=(*unmatched, *matched), waiting=tuple(waiting))

    def first(self) -> RunConfig:
        """The first job, for what all jobs share: paths, logger, and whether they are debug runs."""
        return self._compose(self._grid[0])

    def runs(self, column: str, trial: int) -> dict[str, RunConfig]:
        """The runs of a column and trial by row, without those that wait for others' compute."""
        return {
            row.name: self._compose((row, entry, number))
            for row, entry, number in self._grid
            if (entry.name, number) == (column, trial) and not row.match
        }

    def variant(self) -> str:
        """The overrides if they change what the jobs compute, not only where and how; else an empty text."""
        bare = StudyPlan(self._composer, self._study)
        first = {self._applicable(position): position for position in reversed(self._grid)}
        for position in first.values():
            plain, given = (run_hash(plan._compose(position).config, "") for plan in (bare, self))
            if plain != given:
                return " ".join(self._overrides)
        return ""

    def _compose(self, position: Position, more: Sequence[str] = ()) -> RunConfig:
        try:
            return self._composer.compose(self._arguments(position, more))
        except ConfigError as error:
            raise ConfigError(f"row {position[0].name!r}, column {position[1].name!r}: {error}") from error

    def _arguments(self, position: Position, more: Sequence[str]) -> tuple[str, ...]:
        row, column, trial = position
        tags = (f"trial={trial}", f"study={hydra_quoted(self._study.name)}", f"row={hydra_quoted(row.name)}")
        return (*self._study.fixed, *column.set, *row.set, *more, *tags, *self._applicable(position))

    def _applicable(self, position: Position) -> tuple[str, ...]:
        """The user's overrides, without those below a choice that this row and column don't make."""
        made = {setting.partition("=")[0] for setting in (*position[0].set, *position[1].set)}
        return tuple(one for one in self._overrides if self._below.get(one) in (None, *made))

    def _job(self, position: Position, more: Sequence[str] = ()) -> StudyJob:
        composed = self._compose(position, more)
        run = composed.run_hash(self._fingerprint(composed))
        record = composed.paths.runs / run / RECORD_NAME
        return StudyJob(*position, self._arguments(position, more), run, record, composed.resources)

    def _fingerprint(self, composed: RunConfig) -> str:
        key = canonical_json(composed.config["data"])
        if key not in self._fingerprints:
            self._fingerprints[key] = composed.load_data().fingerprint
        return self._fingerprints[key]


def _refuse_clashes(study: StudyFile, overrides: Sequence[str]) -> dict[str, str]:
    """Override -> the row's or column's choice that it is below: data.root below data=mnist, if there is one.

    Raises:
        ConfigError: an override changes a choice, or is below one that is not the same wherever it is made.
    """
    values: dict[str, set[str]] = {"trial": set(), "study": set(), "row": set()}
    for setting in (setting for entry in (*study.rows, *study.columns) for setting in entry.set):
        name, _, value = setting.partition("=")
        values.setdefault(name, set()).add(value)
    below = {}
    for override in overrides:
        key = override.partition("=")[0]
        above = max((name for name in values if key.startswith(f"{name}.")), key=len, default=None)
        clash = min((name for name in values if f"{name}.".startswith(f"{key}.")), default=None)
        if clash is None and above is not None and len(values[above]) > 1:
            clash = above
        if clash is not None:
            raise ConfigError(
                f"{override}: study {study.name} sets {clash} itself, job by job; edit a copy of its study.yaml, "
                f"or use `trigan run`"
            )
        if above is not None:
            below[override] = above
    return below


def hydra_quoted(text: str) -> str:
    """A text as a value that Hydra reads back unchanged."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash counts as one unless a quote follows
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def matched_flops_override(flops: int) -> tuple[str, ...]:
    """The setting that gives a matched row its compute."""
    return (f"strategy.matched_flops={flops}",)


def record_flops(record: Path) -> int:
    """The counted cost of a finished run, in FLOPs."""
    try:
        return int(json.loads(record.read_bytes())["result"]["cost"]["flops"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{record}: not a sound record; run its command again with --force") from error

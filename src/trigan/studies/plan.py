"""A study's jobs: rows x columns x trials, each a checked run with its hash, its record and its place in the table."""

import re
from collections.abc import Sequence
from dataclasses import replace

from trigan.config.compose import Composer, RunConfig
from trigan.config.run_hash import run_hash
from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME
from trigan.studies.jobs import StudyJob, StudyJobs, record_flops, unmatched_jobs_done
from trigan.studies.study_file import GridEntry, StudyFile


class StudyPlan:
    """Composes the jobs of a study, strictly, all of them before the first one runs.

    Args:
        overrides: the user's own, on top of every job's; one below a choice that some jobs make, on top of theirs.

    Raises:
        ConfigError: an override takes from a job what makes it this row, column or trial.
    """

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str] = ()) -> None:
        self._below = _refuse_clashes(study, overrides)
        self._composer, self._study, self._overrides = composer, study, tuple(overrides)
        self._fingerprints: dict[str, str] = {}

    def jobs(self) -> StudyJobs:
        """All jobs, those that are given others' compute as far as it is known.

        Trials change fastest: neighbours in the queue then never wait for one another's GAN stage, and the next row
        finds it ready.
        """
        cells = tuple(self._cell(row, column, trial, ()) for row, column, trial in self._grid() if not row.match)
        for row, column, trial in self._grid():
            if row.match:  # checked now, with a stand-in for the compute
                self._compose(row, column, trial, matched_flops_override(1))
        first = self.first()
        return self.with_matched(StudyJobs(cells, (), first.paths.outputs, self.variant(), first.debug is not None))

    def with_matched(self, jobs: StudyJobs) -> StudyJobs:
        """The jobs and those that are given the compute of the most expensive of their column and trial, once it is known."""
        cells = [cell for cell in jobs.runnable if not cell.row.match]
        found, waiting = [], []
        for row, column, trial in self._grid():
            if not row.match:
                continue
            if unmatched_jobs_done(cells, column.name, trial):
                beside = [cell for cell in cells if cell.column == column and cell.trial == trial]
                found.append(
                    self._cell(
                        row,
                        column,
                        trial,
                        matched_flops_override(max(record_flops(cell.record_path) for cell in beside)),
                    )
                )
            else:
                waiting.append((row.name, column.name, trial))
        return replace(jobs, runnable=(*cells, *found), waiting=tuple(waiting))

    def first(self) -> RunConfig:
        """The first job, for what all of them share: paths and whether they are debug runs."""
        row, column, trial = self._grid()[0]
        return self._compose(row, column, trial, ())

    def runs(self, column: str, trial: int) -> dict[str, RunConfig]:
        """The runs of a column and trial by row, without those that wait for another's compute."""
        rows = [place for place in self._grid() if (place[1].name, place[2]) == (column, trial)]
        return {place[0].name: self._compose(*place, ()) for place in rows if not place[0].match}

    def variant(self) -> str:
        """The overrides if they change what the jobs compute, not only where and how; else an empty text."""
        bare = StudyPlan(self._composer, self._study)
        first = {self._taken(row, column): (row, column, trial) for row, column, trial in reversed(self._grid())}
        for place in first.values():
            plain, given = (run_hash(plan._compose(*place, ()).config, "") for plan in (bare, self))
            if plain != given:
                return " ".join(self._overrides)
        return ""

    def _grid(self) -> list[tuple[GridEntry, GridEntry, int]]:
        study = self._study
        return [(row, column, trial) for row in study.rows for column in study.columns for trial in study.trials]

    def _compose(self, row: GridEntry, column: GridEntry, trial: int, more: Sequence[str]) -> RunConfig:
        try:
            return self._composer.compose(self._arguments(row, column, trial, more))
        except ConfigError as error:
            raise ConfigError(f"row {row.name!r}, column {column.name!r}: {error}") from error

    def _arguments(self, row: GridEntry, column: GridEntry, trial: int, more: Sequence[str]) -> tuple[str, ...]:
        labels = (f"trial={trial}", f"study={hydra_quoted(self._study.name)}", f"row={hydra_quoted(row.name)}")
        return (*self._study.fixed, *column.set, *row.set, *more, *labels, *self._taken(row, column))

    def _taken(self, row: GridEntry, column: GridEntry) -> tuple[str, ...]:
        """The user's overrides, without those below a choice that this row and column don't make."""
        made = {setting.partition("=")[0] for setting in (*row.set, *column.set)}
        return tuple(one for one in self._overrides if self._below.get(one) in (None, *made))

    def _cell(self, row: GridEntry, column: GridEntry, trial: int, more: Sequence[str]) -> StudyJob:
        composed = self._compose(row, column, trial, more)
        run = composed.run_hash(self._fingerprint(composed))
        record = composed.paths.runs / run / RECORD_NAME
        return StudyJob(row, column, trial, self._arguments(row, column, trial, more), run, record, composed.resources)

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
    lines = [setting for line in (*study.rows, *study.columns) for setting in line.set]
    values: dict[str, set[str]] = {"trial": set(), "study": set(), "row": set()}
    for setting in lines:
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


def matched_flops_override(operations: int) -> tuple[str, ...]:
    return (f"strategy.matched_flops={operations}",)

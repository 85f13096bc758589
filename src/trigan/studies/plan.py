"""A study's jobs: rows x columns x trials, each a checked run with its hash, its record and its place in the table."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

from trigan.config.compose import Composer, RunConfig
from trigan.config.override_rules import hydra_quoted
from trigan.config.run_hash import run_hash
from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.records.record import RECORD_NAME, read_record
from trigan.studies.jobs import StudyJob, StudyJobs, matched_job
from trigan.studies.study_file import GridEntry, StudyFile

T = TypeVar("T")


class StudyPlan:
    """Composes the jobs of a study, strictly, all of them before the first one runs.

    The user's overrides come on top of every job's; one below a choice that some jobs make, on top of theirs.

    Raises:
        ConfigError: an override changes what distinguishes a job's row, column or trial.
    """

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str] = ()) -> None:
        self._below = _refuse_clashes(study, overrides)
        self._composer, self._study, self._overrides = composer, study, tuple(overrides)
        self._grid = [StudyJob(*place) for place in product(study.rows, study.columns, study.trials)]
        self._fingerprints: dict[str, str] = {}
        self.composed: dict[str, bytes | None] = {}  # of the jobs without a record, by hash, for `execution.job.Job`

    def jobs(self) -> StudyJobs:
        """All jobs; those that are given others' compute as far as it is known.

        Trials change fastest: neighbours in the queue then never wait for one another's GAN stage, and the next row
        finds it ready.
        """
        jobs = tuple(self._composed(job) for job in self._grid if not job.row.match)
        for job in self._grid:
            if job.row.match:
                self.compose(job)
        first = self.first()
        debug, logger = first.debug is not None, first.config.get("logger")
        return self.with_matched(StudyJobs(jobs, (), first.paths.outputs, self.variant(), debug, logger))

    def finished(self, listed: StudyJobs | None) -> StudyJobs | None:
        """The jobs of an earlier list, if all are done and the images are still the same; else None.

        The images are the same if the first trial of each row and column still has its hash.
        """
        if listed is None or listed.waiting or not all(job.done for job in listed.runnable):
            return None
        first = [job for job in listed.runnable if job.trial == self._study.trials[0] and not job.row.match]
        known = self._composer.known_hashes([self._settings(job) for job in first])
        if [job.hash for job in first] != (known or [self._composed(job).hash for job in first]):
            return None
        return replace(listed, logger=self.outline().config.get("logger"))

    def with_matched(self, jobs: StudyJobs) -> StudyJobs:
        """Adds the jobs that are given the compute of another row of their column and trial, once it is known."""
        runnable, waiting = [job for job in jobs.runnable if not job.row.match], []
        for job in self._grid:
            if not job.row.match:
                continue
            other = matched_job(jobs.runnable, job)
            if other.done:
                runnable.append(self._composed(job, _flops(other)))
            else:
                waiting.append(job)
        return replace(jobs, runnable=tuple(runnable), waiting=tuple(waiting))

    def first(self) -> RunConfig:
        """The first job, for what all jobs share: paths, logger, and whether they are debug runs."""
        return self.compose(self._grid[0])

    def runs(self, column: str, trial: int) -> dict[str, RunConfig]:
        """The runs of a column and trial by row, without those that wait for others' compute."""
        place = column, trial
        jobs = (job for job in self._grid if (job.column.name, job.trial) == place and not job.row.match)
        return {job.row.name: self.compose(job) for job in jobs}

    def variant(self) -> str:
        """How the jobs were tuned, and the overrides if they change what is computed; else an empty text."""
        tuned = [f"{self._study.tuning_trials} search trials a row"] if self._study.tuning_trials else []
        bare = StudyPlan(self._composer, self._study)
        first = {self.applicable(job.row, job.column): job for job in reversed(self._grid)}
        for job in first.values():
            plain, given = (run_hash(plan.compose(job).config, "") for plan in (bare, self))
            if plain != given:
                return " ".join([*tuned, *self._overrides])
        return " ".join(tuned)

    def compose(self, job: StudyJob, flops: int = 1) -> RunConfig:
        """The run of a row, column and trial; ``flops``: the compute that a matched row is given, or a stand-in."""
        return self._named_errors(job, lambda: self._composer.compose(self._settings(job, flops)))

    def check(self) -> None:
        """Refuse, before anything is imported, what is wrong in the first job: overrides are those of every job."""
        self._named_errors(self._grid[0], lambda: self._composer.check(self._settings(self._grid[0])))

    def outline(self) -> RunConfig:
        """The first job's config, whose objects were not checked: its paths, and whether it is a debug run."""
        return self._named_errors(self._grid[0], lambda: self._composer.outline(self._settings(self._grid[0])))

    def _settings(self, job: StudyJob, flops: int = 1) -> tuple[str, ...]:
        matched = (f"strategy.matched_flops={flops}",) if job.row.match else ()
        tags = (f"trial={job.trial}", f"study={hydra_quoted(self._study.name)}", f"row={hydra_quoted(job.row.name)}")
        tuned = self._study.tuned.get(job.row.name, {}).get(job.column.name, ())
        own = (*self._study.fixed, *job.column.set, *job.row.set, *tuned, *matched, *tags)
        return (*own, *self.applicable(job.row, job.column))

    @staticmethod
    def _named_errors(job: StudyJob, do: Callable[[], T]) -> T:
        try:
            return do()
        except ConfigError as error:
            raise ConfigError(f"row {job.row.name!r}, column {job.column.name!r}: {error}") from error

    def applicable(self, row: GridEntry, column: GridEntry) -> tuple[str, ...]:
        """The user's overrides, without those below a choice that this row and column don't make."""
        made = {setting.partition("=")[0] for setting in (*row.set, *column.set)}
        return tuple(one for one in self._overrides if self._below.get(one) in (None, *made))

    def _composed(self, job: StudyJob, flops: int = 1) -> StudyJob:
        """The job with what it runs and where its record will be."""
        composed = self.compose(job, flops)
        data = canonical_json(composed.config["data"])
        if data not in self._fingerprints:
            self._fingerprints[data] = composed.load_data().identity
        run, arguments = composed.run_hash(self._fingerprints[data]), composed.overrides
        record = composed.paths.runs / run / RECORD_NAME
        if not record.is_file():
            self.composed[run] = composed.pickled()
        return replace(job, arguments=arguments, hash=run, record_path=record, resources=composed.resources)


def _refuse_clashes(study: StudyFile, overrides: Sequence[str]) -> dict[str, str]:
    """Override -> the row's or column's choice that it is below: data.root below data=mnist, if there is one."""
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


def _flops(job: StudyJob) -> int:
    """The counted cost of a finished job; a ConfigError if a row without counted operations is to be matched."""
    flops = read_record(job.record_path)["result"]["cost"]["flops"]
    if not flops:
        raise ConfigError(f"match: {job.row.name!r} has no counted operations ({job.name}); leave match out for it")
    return flops

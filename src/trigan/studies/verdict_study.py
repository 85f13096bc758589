"""The study behind ``trigan verdict``: fixed rows on any images, and one page that says whether a GAN helps there."""

import logging
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trigan.atomic import write_text
from trigan.config.compose import Composer, RunConfig
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError
from trigan.execution.batch import BatchSummary, Engine
from trigan.execution.job import run_options
from trigan.execution.pool import LocalEngine
from trigan.plots.run_plots import plot_comparison
from trigan.reports.verdict_page import VerdictContext, render_verdict
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import run_jobs
from trigan.studies.study_file import GridEntry, StudyFile, find_study, read_study
from trigan.studies.study_table import study_table
from trigan.tables.table import counted
from trigan.tables.verdict import LabelCurve, row_verdicts

STUDY = "verdict"
MINUTES = 30.0
PAGE_FILE, PICTURE_FILE = "verdict.md", "comparison.png"
#: Label budgets at which the baseline is run, over the given one.
LABEL_BUDGET_FACTORS = (0.5, 1, 2, 4, 8)
_LABELS = "regime.labels_per_class"
#: Data choices that may be any images: a page names these by the images' own name.
_OWN_DATA = ("folder", "hub", "npz")

_log = logging.getLogger("trigan")


def run_verdict(
    overrides: Sequence[str] = (),
    *,
    minutes: float = MINUTES,
    trials: int | None = None,
    workers: int | None = None,
    name: str | None = None,
    config_dir: Path | None = None,
) -> tuple[Path, BatchSummary]:
    """Run trials of a small study on any images and write the page; arguments and errors as for `trigan.verdict`.

    The page lies in the folder ``name`` under ``outputs/verdicts``; None: named by data set and label budget.

    Returns:
        The page, and how the jobs ended.
    """
    study = read_study(find_study(STUDY))
    composer = Composer(config_dir)
    verdict = _Verdict(composer, study, overrides, StudyPlan(composer, study, overrides).first())
    with LocalEngine(workers) as engine:
        verdict.run(engine, study.trials[:trials], minutes, run_options(config_dir))
    given = f"{minutes:g}" if minutes != MINUTES else None
    options = {"minutes": given, "trials": trials, "workers": workers, "name": name, "config-dir": config_dir}
    words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
    command = shlex.join(["trigan", "verdict", *overrides, *words])
    return verdict.write(name or verdict.default_name, command), verdict.summary


class _Verdict:
    """The trials of a verdict, one after the other: the study's rows, and the baseline with fewer and more labels."""

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str], first: RunConfig) -> None:
        if first.debug:
            raise ConfigError("debug: a verdict on debug runs would mean nothing; `trigan run debug=fast` tries one")
        self.composer, self.overrides, self.first = composer, tuple(overrides), first
        self.labels: int | None = first.config["regime"].get("labels_per_class")
        self.source = first.load_data()
        self.own_data = first.choices["data"] in _OWN_DATA
        self.data = self.source.name if self.own_data else str(first.choices["data"])
        self.budgets = _budgets(first, self.source, self.labels) if self.labels else ()
        column = f"{self.labels} a class" if self.labels else "all labels"
        self.study = study.model_copy(update={"columns": (GridEntry(name=column),)})
        reference = next(row for row in study.rows if row.name == study.reference)
        columns = tuple(GridEntry(name=f"{n} a class", set=(f"{_LABELS}={n}",)) for n in self.budgets)
        self.curve = study.with_rows((reference,)).model_copy(update={"columns": columns})
        self.trials: list[int] = []
        self.jobs: list[StudyJob] = []
        self.curve_jobs: list[StudyJob] = []
        self.seconds, self.summary = 0.0, BatchSummary()

    @property
    def default_name(self) -> str:
        """One for each data set and budget, and for own images also for their state."""
        own = f"-{self.source.fingerprint[:6]}" if self.own_data else ""
        data = re.sub(r"[^\w.-]+", "-", self.data) + own
        return f"{data}-{self.study.columns[0].name.replace(' ', '-')}"

    def run(self, engine: Engine, trials: Sequence[int], minutes: float, extra: Sequence[str]) -> None:
        """Trial after trial, as long as one more fits into the minutes; the first one always runs."""
        without_labels = [text for text in self.overrides if not text.startswith(f"{_LABELS}=")]
        for trial in trials:
            count = len(self.trials)
            if count and self.seconds * (count + 1) / count > 60 * minutes:
                plural = "s" if count > 1 else ""
                _log.info("%d trial%s took %.0f of %g minutes", count, plural, self.seconds / 60, minutes)
                return
            started = time.monotonic()
            _log.info("verdict: trial %d, at most %d", trial, len(trials))
            self.jobs += self._run(engine, self.study, self.overrides, trial, extra)
            if self.curve.columns:
                self.curve_jobs += self._run(engine, self.curve, without_labels, trial, extra)
            self.trials.append(trial)
            self.seconds += time.monotonic() - started

    def _run(
        self, engine: Engine, study: StudyFile, overrides: Sequence[str], trial: int, extra: Sequence[str]
    ) -> tuple[StudyJob, ...]:
        plan = StudyPlan(self.composer, study.model_copy(update={"trials": (trial,)}), overrides)
        jobs, summary = run_jobs(engine, plan, plan.jobs(), STUDY, extra, retry=True)
        self.summary += summary
        return jobs.runnable

    def write(self, name: str, command: str) -> Path:
        """Write the page and its picture."""
        outputs, done, column = self.first.paths.outputs, {"trials": tuple(self.trials)}, self.study.columns[0].name
        path = outputs / "verdicts" / name / PAGE_FILE
        table = counted(study_table(self.study.model_copy(update=done), self.jobs, outputs), path.parent)
        curve = None
        if self.curve.columns:
            other = study_table(self.curve.model_copy(update=done), self.curve_jobs, outputs)
            row = str(self.study.reference)
            cells = {n: other.cells[row, f"{n} a class"] for n in self.budgets}
            own = {self.labels: table.cells[row, column]} if self.labels else {}
            curve = LabelCurve.of({**cells, **own})
        context = VerdictContext(self.data, self.labels, len(self.trials), self.seconds / 60, command, (PICTURE_FILE,))
        write_text(path, render_verdict(context, table, row_verdicts(table, column, curve), curve))
        plot_comparison(table, path.with_name(PICTURE_FILE))
        return path


def _budgets(first: RunConfig, source: ImageDataset, labels: int) -> tuple[int, ...]:
    """Other labels per class for the baseline's curve: those of ``LABEL_BUDGET_FACTORS`` that the images can supply."""
    regime, budgets = first.build().regime, []
    for n in sorted({round(factor * labels) for factor in LABEL_BUDGET_FACTORS if round(factor * labels) >= 1}):
        try:
            draw_split(source, replace(regime, labels_per_class=n), first.trial)
        except (DataError, ConfigError):
            if n <= labels:
                raise
            break
        budgets.append(n)
    return tuple(n for n in budgets if n != labels)

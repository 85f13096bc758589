"""The study behind ``trigan verdict``: fixed rows on any images, and one page that says whether a GAN helps there."""

import logging
import math
import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from trigan.atomic import write_text
from trigan.config.compose import Composer, RunConfig
from trigan.config.suggest import nearest_hint
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError
from trigan.execution.batch import BatchSummary, Engine
from trigan.execution.job import run_options
from trigan.execution.pool import LocalEngine, cores
from trigan.execution.progress import duration
from trigan.plots.plot_style import no_result_lost
from trigan.plots.run_plots import plot_comparison
from trigan.reports.report_data import ReportData
from trigan.reports.verdict_page import (
    VerdictContext,
    VerdictResult,
    render_verdict,
    render_verdict_html,
    render_verdict_terminal,
)
from trigan.scores import METRICS
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.run_study import run_jobs
from trigan.studies.study_file import GridEntry, StudyFile, find_study, read_study
from trigan.studies.study_table import render_table, study_table
from trigan.studies.verdict.duration_estimate import DurationEstimates
from trigan.studies.verdict.verdict_pictures import write_mistakes, write_real
from trigan.tables.cell import Cell
from trigan.tables.classifier_differences import labelled_augmentation
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.looks import look_level
from trigan.tables.statistics import HEADLINE_TRIALS, minimal_detectable_difference
from trigan.tables.table import counted
from trigan.tables.verdict import LabelCurve, headline, row_verdicts

STUDY = "verdict"
LABELLED = "labelled"  # the study's scale without unlabelled images
MINUTES = 30.0
PAGE_FILE, PICTURE_FILE, TABLE_FILE = "verdict.md", "comparison.png", "table.csv"
#: Label budgets at which the baseline is run, over the given one.
LABEL_BUDGET_FACTORS = (0.5, 1, 2, 4, 8)
_LABELS = "regime.labels_per_class"
#: Data choices that may be any images: a page names these by the images' own name.
_OWN_DATA = ("folder", "hub", "npz", "table")

_log = logging.getLogger("trigan")


@dataclass(frozen=True)
class VerdictPlan:
    """What a verdict is about to do.

    Attributes:
        rows: minutes of each row in a trial, on one process.
        trial: minutes of a trial, with ``workers`` jobs at a time.
        wanted: the trials that a verdict has at most.
        fitting: the trials that fit into ``minutes``; at least one is run.
        detectable: difference that the wanted trials would mostly detect where the differences of single trials have a
            standard deviation of 1, in its ``unit``; None with fewer than three.
    """

    data: str
    images: int
    labelled: int
    unlabelled: int
    test_images: int
    rows: Mapping[str, float]
    trial: float
    workers: int
    minutes: float
    wanted: int
    detectable: float | None
    unit: str

    @property
    def fitting(self) -> int:
        """How many trials fit; see the class."""
        return max(1, min(self.wanted, int(self.minutes / self.trial)))

    def __str__(self) -> str:
        """The plan in words."""
        width = max(map(len, self.rows))
        rows = [f"  {name:{width}}  {duration(60 * minutes):>12}" for name, minutes in self.rows.items()]
        lines = [
            f"{self.data}: {self.images:,} images; in a trial {self.labelled:,} with labels and {self.unlabelled:,} "
            f"without to train on, and {self.test_images:,} to test on",
            "minutes of each row in a trial, from a few measured steps of each stage:",
            *rows,
            f"a trial takes about {duration(60 * self.trial)} with {self.workers} at a time, "
            "with the baseline at other numbers of labels",
        ]
        fit = f"{self.fitting} trial{'s fit' if self.fitting > 1 else ' fits'}"
        if self.trial > self.minutes:
            fit = "no trial fits, and one is run all the same,"
        needed = math.ceil(HEADLINE_TRIALS * self.trial)
        if self.fitting >= HEADLINE_TRIALS:
            lines.append(f"{fit} into {self.minutes:g} minutes; a verdict needs {HEADLINE_TRIALS}")
        elif self.wanted < HEADLINE_TRIALS:
            lines.append(f"{fit}; a verdict needs {HEADLINE_TRIALS}: leave --trials out")
        else:
            lines.append(
                f"{fit} in {self.minutes:g} minutes; a verdict needs {HEADLINE_TRIALS}, which take about {needed} "
                f"minutes: --minutes {needed}"
            )
        if self.detectable is not None:
            lines.append(
                f"{self.wanted} trials mostly detect a difference of {self.detectable:.1f} {self.unit} if it "
                f"scatters from trial to trial by 1 (standard deviation), and of {2 * self.detectable:.1f} if by 2"
            )
        return "\n".join(lines)


class VerdictRuns:
    """A small study on any images: its plan, its trials one after the other, and its page.

    A trial has the study's rows, and the baseline with fewer and more labels. Rows that need unlabelled images are left
    out where there are none (scale ``labelled`` of the study).

    Raises:
        ConfigError: a setting makes no sense here; then nothing has run.
    """

    def __init__(
        self, overrides: Sequence[str] = (), config_dir: Path | None = None, metric: str | None = None
    ) -> None:
        if metric is not None and metric not in METRICS:
            raise ConfigError(
                f"metric={metric}: no such score{nearest_hint(metric, METRICS)}; there are {', '.join(METRICS)}"
            )
        self.metric = metric
        self.composer, self.overrides, self.config_dir = Composer(config_dir), tuple(overrides), config_dir
        study = read_study(find_study(STUDY))
        self.first = first = StudyPlan(self.composer, study, overrides).first()
        if first.debug:
            raise ConfigError("debug: a verdict on debug runs would mean nothing; `trigan run debug=fast` tries one")
        self.labels: int | None = first.config["regime"].get("labels_per_class")
        self.source = first.load_data()
        self.split = draw_split(self.source, first.build().regime, first.trial)
        if not self.split.view.sizes.unlabelled:
            study = read_study(find_study(STUDY), LABELLED)
        study = study.model_copy(update={"metric": metric or study.metric})
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
        self.computed: list[float] = []  # seconds of each trial that was not found finished
        self.written: tuple[VerdictContext, VerdictResult]

    @property
    def default_name(self) -> str:
        """One for each data set and budget, and for own images also for their state."""
        own = f"-{self.source.fingerprint[:6]}" if self.own_data else ""
        data = re.sub(r"[^\w.-]+", "-", self.data) + own
        return f"{data}-{self.study.columns[0].name.replace(' ', '-')}"

    def plan(self, minutes: float, trials: int | None = None, workers: int | None = None) -> VerdictPlan:
        """Measure a few steps of each stage, and say what fits into the minutes; trains and stores nothing."""
        plan = StudyPlan(self.composer, self.study, self.overrides)
        column, trial, estimates = self.study.columns[0], self.first.trial, DurationEstimates(self.split.view)
        for name, run in plan.runs(column.name, trial).items():
            estimates.measure(name, run)
        for row in self.study.rows:
            if row.match:
                flops = estimates.flops[str(row.match)]
                estimates.measure(row.name, plan.compose(StudyJob(row, column, trial), flops))
        rows = estimates.seconds
        total = sum(rows.values()) + len(self.budgets) * rows[str(self.study.reference)]
        at_once, sizes, wanted = workers or cores(), self.split.view.sizes, len(self.study.trials[:trials])
        comparisons = len(self.study.family.rows) if self.study.family else 1
        return VerdictPlan(
            data=self.data,
            images=len(self.source.labels),
            labelled=sizes.labelled + sizes.validation,
            unlabelled=sizes.unlabelled,
            test_images=len(self.split.parts.test),
            rows={name: seconds / 60 for name, seconds in rows.items()},
            trial=total / at_once / 60,
            workers=at_once,
            minutes=minutes,
            wanted=wanted,
            detectable=(
                minimal_detectable_difference(1.0, wanted, level=look_level(1) / comparisons) if wanted >= 3 else None
            ),
            unit=TextFormat(METRICS[self.study.metric]).unit,
        )

    def run(
        self, minutes: float = MINUTES, trials: int | None = None, workers: int | None = None, name: str | None = None
    ) -> Path:
        """Run trials, as long as one more fits into the minutes, and write the page; arguments as `trigan.verdict`.

        The page lies in the folder ``name`` under ``outputs/verdicts``; None: named by data set and label budget.
        """
        with LocalEngine(workers) as engine:
            self._run_trials(engine, self.study.trials[:trials], minutes, run_options(self.config_dir))
        given = f"{minutes:g}" if minutes != MINUTES else None
        options: dict[str, object] = {"minutes": given, "trials": trials, "workers": workers, "name": name}
        options |= {"metric": self.metric, "config-dir": self.config_dir}
        words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
        return self.write(name or self.default_name, shlex.join(["trigan", "verdict", *self.overrides, *words]))

    def _run_trials(self, engine: Engine, trials: Sequence[int], minutes: float, extra: Sequence[str]) -> None:
        """Trial after trial, as long as one more fits into the minutes; the first one always runs."""
        without_labels = [text for text in self.overrides if not text.startswith(f"{_LABELS}=")]
        for trial in trials:
            count = len(self.trials)
            if self.computed and self.seconds + fmean(self.computed) > 60 * minutes:
                plural = "s" if count > 1 else ""
                _log.info("%d trial%s took %.0f of %g minutes", count, plural, self.seconds / 60, minutes)
                return
            started, before = time.monotonic(), len(self.summary.ended)
            _log.info("verdict: trial %d, at most %d", trial, len(trials))
            self.jobs += self._run_trial(engine, self.study, self.overrides, trial, extra)
            if self.curve.columns:
                self.curve_jobs += self._run_trial(engine, self.curve, without_labels, trial, extra)
            self.trials.append(trial)
            took, ended = time.monotonic() - started, len(self.summary.ended)
            self.seconds += took
            if ended > before:
                self.computed.append(took)

    def _run_trial(
        self, engine: Engine, study: StudyFile, overrides: Sequence[str], trial: int, extra: Sequence[str]
    ) -> tuple[StudyJob, ...]:
        plan = StudyPlan(self.composer, study.model_copy(update={"trials": (trial,)}), overrides)
        jobs, summary = run_jobs(engine, plan, plan.jobs(), STUDY, extra, retry=True)
        self.summary += summary
        return jobs.runnable

    def write(self, name: str, command: str) -> Path:
        """Write the page, as Markdown and as HTML, its table as CSV, and its pictures; return the Markdown's path."""
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
        report = ReportData((), table, {job.hash: job.record_path.parent for job in self.jobs if job.done})
        result = VerdictResult(table, row_verdicts(table, column, curve), curve)
        context = VerdictContext(
            data=self.data,
            images=len(self.source.labels),
            labels=self.labels,
            trials=len(self.trials),
            minutes=self.seconds / 60,
            command=command,
            augmentation=_augmentation_text(table.cells[str(self.study.reference), column]),
            minutes_per_trial=fmean(self.computed) / 60 if self.computed else None,
            pictures={
                PICTURE_FILE: "Scores of all rows; each dot is a trial.",
                **self._write_pictures(report, path.parent),
            },
        )
        self.written = context, result
        write_text(path, render_verdict(context, result))
        write_text(path.with_suffix(".html"), render_verdict_html(context, result, report, path.parent))
        write_text(path.with_name(TABLE_FILE), render_table(table, "csv"))
        with no_result_lost():
            plot_comparison(table, path.with_name(PICTURE_FILE))
        return path

    def terminal_text(self, width: int, colour: bool) -> str:
        """The answer of the page that was written last, and its table."""
        return render_verdict_terminal(*self.written, width, colour)

    def _write_pictures(self, report: ReportData, folder: Path) -> dict[str, str]:
        """Files and captions."""
        column, written = report.table.spec.columns[0], dict[str, str]()
        with no_result_lost():
            written |= write_real(self.source, self.split.parts.labelled, folder)
        with no_result_lost():
            if (found := headline(report.table, column)) is not None:
                written |= write_mistakes(self.source, report, found.strongest[0], column, folder)
        return written


def _augmentation_text(cell: Cell) -> str:
    """What was done to the labelled images: ``classic(crop=2, flip=true) in 7 of 10 trials, classic(crop=2) in 3 ...``.

    The trials differ where each of them decides by its own labels (``augmentation.flip=auto``).
    """
    texts = Counter(labelled_augmentation(one) or "not counted" for one in cell.records)
    if len(texts) < 2:
        return "".join(texts)
    return ", ".join(f"{text} in {n} of {len(cell.records)} trials" for text, n in texts.most_common())


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

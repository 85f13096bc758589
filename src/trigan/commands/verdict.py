"""``trigan verdict``: a small fixed study on anybody's images, and one page that says whether a GAN helps there."""

import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from trigan.atomic import wrap_os_errors, write_bytes
from trigan.commands.arguments import Parser, positive_float, positive_int
from trigan.commands.study import run_jobs
from trigan.config.compose import Composer, RunConfig
from trigan.data.types import ImageDataset
from trigan.errors import ConfigError, DataError
from trigan.execution.local_engine import LocalEngine
from trigan.plots.run_plots import plot_comparison
from trigan.reports.verdict_page import VerdictContext, render_verdict
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import GridEntry, StudyFile, find_study, read_study
from trigan.studies.study_table import study_table
from trigan.tables.table import Table
from trigan.tables.verdict import LabelCurve, row_verdicts

STUDY = "verdict"
#: Budgets that the baseline is tried with, over the one at hand.
LABEL_BUDGET_FACTORS = (0.5, 1, 2, 4, 8)
_LABELS = "regime.labels_per_class"
#: Data choices that may be any images: what they are called is the images' own name.
_OWN = ("folder", "hub", "npz")


def main(arguments: list[str]) -> int:
    """Run trials until the minutes are used, and write the page; 1 when jobs failed."""
    options = _parser().parse_intermixed_args(arguments)
    study = read_study(find_study(STUDY))
    trials = study.trials[: options.trials]
    composer = Composer(options.config_dir)
    extra = ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []
    first = StudyPlan(composer, study, options.overrides).first()
    if first.debug:
        raise ConfigError("debug: a verdict on debug runs would mean nothing; `trigan run debug=fast` tries one")
    course = _Course(composer, study, options.overrides, first)
    with LocalEngine(options.workers) as engine:
        code = course.run(engine, trials, options.minutes, extra)
    folder = first.paths.outputs / "verdicts" / options.name if options.name else course.folder
    course.write(folder, "trigan verdict " + shlex.join(arguments))
    return code


class _Course:
    """The trials of a verdict, one after the other: the study's rows, and the baseline with fewer and more labels."""

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str], first: RunConfig) -> None:
        self.composer, self.overrides, self.first = composer, tuple(overrides), first
        self.labels: int | None = first.config["regime"].get("labels_per_class")
        self.source = first.load_data()
        self.data = self.source.name if first.choices["data"] in _OWN else str(first.choices["data"])
        budgets = _budgets(first, self.source, self.labels) if self.labels else ()
        name = f"{self.labels} a class" if self.labels else "all labels"
        self.study = replace(study, columns=(GridEntry(name, ()),))
        reference = next(row for row in study.rows if row.name == study.analysis.reference)
        columns = tuple(GridEntry(f"{n} a class", (f"{_LABELS}={n}",)) for n in budgets if n != self.labels)
        self.curve = replace(study, rows=(reference,), columns=columns, analysis=study.analysis.of([reference.name]))
        self.budgets = budgets
        self.done: list[int] = []
        self.cells: list[StudyJob] = []
        self.curve_cells: list[StudyJob] = []
        self.seconds = 0.0

    @property
    def folder(self) -> Path:
        """Where the page goes: one folder for each data set and budget, and for own images also for their state."""
        own = f"-{self.source.fingerprint[:6]}" if self.first.choices["data"] in _OWN else ""
        data = re.sub(r"[^\w.-]+", "-", self.data) + own
        return self.first.paths.outputs / "verdicts" / f"{data}-{self.study.columns[0].name.replace(' ', '-')}"

    def run(self, engine: LocalEngine, trials: Sequence[int], minutes: float, extra: Sequence[str]) -> int:
        """Trial after trial, as long as one more fits into the minutes; the first one always runs."""
        code = 0
        for trial in trials:
            if self.done and self.seconds * (len(self.done) + 1) / len(self.done) > 60 * minutes:
                count = f"{len(self.done)} trial{'s' if len(self.done) > 1 else ''}"
                print(f"{count} took {self.seconds / 60:.0f} of {minutes:g} minutes", file=sys.stderr)
                break
            started = time.monotonic()
            print(f"verdict: trial {trial}, at most {len(trials)}", file=sys.stderr)
            plan = StudyPlan(self.composer, replace(self.study, trials=(trial,)), self.overrides)
            jobs, summary = run_jobs(engine, plan, plan.jobs(), STUDY, extra)
            self.cells += jobs.runnable
            code = max(code, summary.code, self._run_curve(engine, trial, extra))
            self.done.append(trial)
            self.seconds += time.monotonic() - started
        return code

    def _run_curve(self, engine: LocalEngine, trial: int, extra: Sequence[str]) -> int:
        if not self.curve.columns:
            return 0
        others = [text for text in self.overrides if not text.startswith(f"{_LABELS}=")]
        plan = StudyPlan(self.composer, replace(self.curve, trials=(trial,)), others)
        jobs, summary = run_jobs(engine, plan, plan.jobs(), STUDY, extra)
        self.curve_cells += jobs.runnable
        return summary.code

    def write(self, folder: Path, command: str) -> None:
        """The page, its picture, and the page on the terminal."""
        trials, column = tuple(self.done), self.study.columns[0].name
        table = study_table(replace(self.study, trials=trials), self.cells, self.first.paths.outputs)
        curve = self._curve(table, column) if self.curve.columns else None
        with wrap_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        plot_comparison(table, folder / "comparison.png")
        told = VerdictContext(self.data, self.labels, len(trials), self.seconds / 60, command, ("comparison.png",))
        page = render_verdict(told, table, row_verdicts(table, column, curve), curve)
        write_bytes(folder / "verdict.md", page.encode())
        console = Console()
        if console.is_terminal:
            console.print(Markdown(page))
        else:
            print(page)
        print(f"written: {folder}/verdict.md, comparison.png")

    def _curve(self, table: Table, column: str) -> LabelCurve:
        beside = study_table(replace(self.curve, trials=tuple(self.done)), self.curve_cells, self.first.paths.outputs)
        row = str(self.study.analysis.reference)
        cells = {n: beside.cells[row, f"{n} a class"] for n in self.budgets if n != self.labels}
        return LabelCurve.of({**cells, **({self.labels: table.cells[row, column]} if self.labels else {})})


def _budgets(first: RunConfig, source: ImageDataset, labels: int) -> tuple[int, ...]:
    """Labels per class for the baseline's curve: those of ``LABEL_BUDGET_FACTORS`` that the images can supply."""
    from trigan.data.splits.make_split import make_split

    regime, found = first.build().regime, []
    for n in sorted({round(times * labels) for times in LABEL_BUDGET_FACTORS if round(times * labels) >= 1}):
        try:
            make_split(source, replace(regime, labels_per_class=n), first.trial)
        except (DataError, ConfigError):
            if n <= labels:
                raise
            break
        found.append(n)
    return tuple(found)


def _parser() -> Parser:
    parser = Parser(
        prog="trigan verdict",
        description="Does a GAN help a classifier on these images? A small study of fixed rows, and one page.",
        epilog="Example: trigan verdict data=folder data.root=my_images data.image_size=32 --minutes 30",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", help="data and regime, e.g. data=mnist regime.labels_per_class=10")
    parser.add_argument(
        "--minutes",
        type=positive_float,
        default=30.0,
        help="trials are added while one more fits (default: 30)",
    )
    parser.add_argument("--trials", type=positive_int, help="at most so many (default: 10; five give intervals)")
    parser.add_argument("--workers", type=positive_int, help="jobs at a time (default: one per core)")
    parser.add_argument("--name", help="folder under outputs/verdicts (default: data set and budget)")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser

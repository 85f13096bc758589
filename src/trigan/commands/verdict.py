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

from trigan.atomic import explained, write_bytes
from trigan.commands.arguments import Parser, at_least_one, positive
from trigan.commands.study import run_jobs
from trigan.config.compose import Composed, Composer
from trigan.data.types import Source
from trigan.errors import ConfigError, DataError
from trigan.execution.workers import Crew
from trigan.plots.run_plots import comparison
from trigan.reports.verdict_page import Circumstances, render_verdict
from trigan.studies.jobs import Cell
from trigan.studies.plan import Plan
from trigan.studies.study_file import Line, StudyFile, find, read
from trigan.studies.study_table import study_table
from trigan.tables.table import Table
from trigan.tables.verdict_findings import Curve, findings

STUDY = "verdict"
#: Budgets that the baseline is tried with, over the one at hand.
TIMES = (0.5, 1, 2, 4, 8)
_LABELS = "regime.labels_per_class"
#: Data choices that may be any images: what they are called is the images' own name.
_OWN = ("folder", "hub", "npz")


def main(arguments: list[str]) -> int:
    """Run trials until the minutes are used, and write the page; 1 when jobs failed."""
    options = _parser().parse_intermixed_args(arguments)
    study = read(find(STUDY))
    trials = study.trials[: options.trials]
    composer = Composer(options.config_dir)
    extra = ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []
    first = Plan(composer, study, options.overrides).first()
    if first.debug:
        raise ConfigError("debug: a verdict on debug runs would mean nothing; `trigan run debug=fast` tries one")
    course = _Course(composer, study, options.overrides, first)
    with Crew(options.workers) as crew:
        code = course.run(crew, trials, options.minutes, extra)
    folder = first.paths.outputs / "verdicts" / options.name if options.name else course.folder
    course.write(folder, "trigan verdict " + shlex.join(arguments))
    return code


class _Course:
    """The trials of a verdict, one after the other: the study's rows, and the baseline with fewer and more labels."""

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str], first: Composed) -> None:
        self.composer, self.overrides, self.first = composer, tuple(overrides), first
        self.labels: int | None = first.config["regime"].get("labels_per_class")
        self.source = first.load_data()
        self.data = self.source.name if first.choices["data"] in _OWN else str(first.choices["data"])
        budgets = _budgets(first, self.source, self.labels) if self.labels else ()
        name = f"{self.labels} a class" if self.labels else "all labels"
        self.study = replace(study, columns=(Line(name, ()),))
        reference = next(row for row in study.rows if row.name == study.reading.reference)
        columns = tuple(Line(f"{n} a class", (f"{_LABELS}={n}",)) for n in budgets if n != self.labels)
        self.curve = replace(study, rows=(reference,), columns=columns, reading=study.reading.of([reference.name]))
        self.budgets = budgets
        self.done: list[int] = []
        self.cells: list[Cell] = []
        self.curve_cells: list[Cell] = []
        self.seconds = 0.0

    @property
    def folder(self) -> Path:
        """Where the page goes: one folder for each data set and budget, and for own images also for their state."""
        own = f"-{self.source.fingerprint[:6]}" if self.first.choices["data"] in _OWN else ""
        data = re.sub(r"[^\w.-]+", "-", self.data) + own
        return self.first.paths.outputs / "verdicts" / f"{data}-{self.study.columns[0].name.replace(' ', '-')}"

    def run(self, crew: Crew, trials: Sequence[int], minutes: float, extra: Sequence[str]) -> int:
        """Trial after trial, as long as one more fits into the minutes; the first one always runs."""
        code = 0
        for trial in trials:
            if self.done and self.seconds * (len(self.done) + 1) / len(self.done) > 60 * minutes:
                count = f"{len(self.done)} trial{'s' if len(self.done) > 1 else ''}"
                print(f"{count} took {self.seconds / 60:.0f} of {minutes:g} minutes", file=sys.stderr)
                break
            started = time.monotonic()
            print(f"verdict: trial {trial}, at most {len(trials)}", file=sys.stderr)
            plan = Plan(self.composer, replace(self.study, trials=(trial,)), self.overrides)
            jobs, summary = run_jobs(crew, plan, plan.jobs(), STUDY, extra)
            self.cells += jobs.cells
            code = max(code, summary.code, self._run_curve(crew, trial, extra))
            self.done.append(trial)
            self.seconds += time.monotonic() - started
        return code

    def _run_curve(self, crew: Crew, trial: int, extra: Sequence[str]) -> int:
        if not self.curve.columns:
            return 0
        others = [text for text in self.overrides if not text.startswith(f"{_LABELS}=")]
        plan = Plan(self.composer, replace(self.curve, trials=(trial,)), others)
        jobs, summary = run_jobs(crew, plan, plan.jobs(), STUDY, extra)
        self.curve_cells += jobs.cells
        return summary.code

    def write(self, folder: Path, command: str) -> None:
        """The page, its picture, and the page on the terminal."""
        trials, column = tuple(self.done), self.study.columns[0].name
        table = study_table(replace(self.study, trials=trials), self.cells, self.first.paths.outputs)
        curve = self._curve(table, column) if self.curve.columns else None
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        comparison(table, folder / "comparison.png")
        told = Circumstances(self.data, self.labels, len(trials), self.seconds / 60, command, ("comparison.png",))
        page = render_verdict(told, table, findings(table, column, curve), curve)
        write_bytes(folder / "verdict.md", page.encode())
        console = Console()
        if console.is_terminal:
            console.print(Markdown(page))
        else:
            print(page)
        print(f"written: {folder}/verdict.md, comparison.png")

    def _curve(self, table: Table, column: str) -> Curve:
        beside = study_table(replace(self.curve, trials=tuple(self.done)), self.curve_cells, self.first.paths.outputs)
        row = str(self.study.reading.reference)
        cells = {n: beside.cells[row, f"{n} a class"] for n in self.budgets if n != self.labels}
        return Curve.of({**cells, **({self.labels: table.cells[row, column]} if self.labels else {})})


def _budgets(first: Composed, source: Source, labels: int) -> tuple[int, ...]:
    """Labels per class for the baseline's curve: those of ``TIMES`` that the images can supply."""
    from trigan.data.splits.draw import draw

    regime, found = first.build().regime, []
    for n in sorted({round(times * labels) for times in TIMES if round(times * labels) >= 1}):
        try:
            draw(source, replace(regime, labels_per_class=n), first.trial)
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
        type=positive,
        default=30.0,
        help="trials are added while one more fits (default: 30)",
    )
    parser.add_argument("--trials", type=at_least_one, help="at most so many (default: 10; five give intervals)")
    parser.add_argument("--workers", type=at_least_one, help="jobs at a time (default: one per core)")
    parser.add_argument("--name", help="folder under outputs/verdicts (default: data set and budget)")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser

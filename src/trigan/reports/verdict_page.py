"""The page of a verdict, as Markdown and as HTML: the answer first, then its evidence, the small print last."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.text import Text

from trigan.reports.figures import TEMPLATES, Figure, Part, Section, render
from trigan.reports.report_data import ReportData
from trigan.reports.report_page import results, runs_behind
from trigan.reports.score_section import cost, scores
from trigan.reports.training_section import curves, encode_image, samples
from trigan.tables.layout.block import Block
from trigan.tables.layout.blocks import attribution, brief, over_strongest
from trigan.tables.layout.formatting import TextFormat, data_used_text
from trigan.tables.layout.templating import render_page
from trigan.tables.layout.text import escape_markdown, markdown_grid, render_markdown, terminal_text
from trigan.tables.statistics import HEADLINE_TRIALS
from trigan.tables.table import Table
from trigan.tables.verdict import LabelCurve, LabelEquivalent, RowVerdict, headline

#: Pictures of images beside the page.
REAL_FILE, MISTAKES_FILE = "real.png", "mistakes.png"
_PARTS = (
    "Each step is the difference between a row with an addition and a row without it. Rows with unlabelled images are "
    "compared with rows without them, because unlabelled images are one of the additions."
)


@dataclass(frozen=True)
class VerdictContext:
    """What was run.

    Attributes:
        images: of the whole data set.
        labels: per class, None if every image keeps its label.
        minutes_per_trial: of those that were not found finished; None if all were.
        augmentation: of all rows but those that say otherwise, in words.
        pictures: files beside the page, and their captions.
    """

    data: str
    images: int
    labels: int | None
    trials: int
    minutes: float
    command: str
    minutes_per_trial: float | None = None
    augmentation: str = ""
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The page's title."""
        return f"Verdict: {self.data}, {f'{self.labels} labels per class' if self.labels else 'all labels'}"


@dataclass(frozen=True)
class VerdictResult:
    """The numbers of a verdict: the table of its one column, the verdict on each primary row, the baseline's curve."""

    table: Table
    verdicts: Sequence[RowVerdict]
    curve: LabelCurve | None

    @property
    def column(self) -> str:
        """The table's column."""
        return self.table.spec.columns[0]


def headline_lines(context: VerdictContext, result: VerdictResult) -> list[str]:
    """The answer, one sentence a line (``templates/verdict_headline.txt.j2``)."""
    found, fmt = headline(result.table, result.column), TextFormat(result.table.metric)
    if found is None:
        return ["No run is finished."]
    unit = "%" if result.table.metric.percent else ""
    words: dict[str, Callable[[Any], str]] = {
        "score": lambda value: f"{fmt.value(value)} {unit}".rstrip(),
        "points": lambda value: f"{fmt.value(value)} {fmt.unit}",
        "difference": lambda one: f"{fmt.difference(one, with_p=False)} {fmt.unit}",
    }
    each = context.minutes_per_trial
    words["later"] = lambda trials: "" if each is None else f", about {_minutes(trials * each)},"
    text = render(
        "verdict_headline.txt.j2", {"context": context, "headline": found, "needed": HEADLINE_TRIALS, **words}
    )
    return [line for line in text.splitlines() if line]


def _minutes(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{math.ceil(minutes)} minute{'s' if minutes > 1 else ''}"


def answer_block(result: VerdictResult) -> Block:
    """Every row with its difference to the strongest baseline that used the same images, its cost and its verdict."""
    table, column, fmt = result.table, result.column, TextFormat(result.table.metric)
    verdicts, usual = (
        {one.gain.row: one for one in result.verdicts},
        table.cells[str(table.spec.reference), column].flops,
    )
    found = headline(table, column)
    n_test = f", {found.test_images} test images" if found is not None else ""
    columns: dict[str, list[str]] = {
        "row": list(table.spec.rows),
        f"{column} (n = {len(table.spec.trials or ())}{n_test})": [],
        "minus the strongest baseline": [],
        "used": [],
        "relative FLOPs": [],
        "label equivalent (per class)": [],
        "verdict": [],
    }
    for row in table.spec.rows:
        cell, verdict = table.cells[row, column], verdicts.get(row)
        texts = (
            fmt.cell(cell),
            over_strongest(table, row, column),
            data_used_text(cell) if cell.records else "-",
            f"{cell.flops / usual:.1f} x" if cell.flops is not None and usual else "-",
            _equivalent(verdict.label_equivalent) if verdict is not None else "-",
            render("row_verdict.txt.j2", {"one": verdict}) if verdict is not None else "-",
        )
        for texts_of, text in zip(list(columns.values())[1:], texts, strict=True):
            texts_of.append(text)
    if result.curve is None:
        del columns["label equivalent (per class)"]
    bold = frozenset((i, 1) for i, row in enumerate(table.spec.rows) if (row, column) in table.best)
    title = f"Test {table.metric.label}{', %' if table.metric.percent else ''}"
    rows = tuple(zip(*columns.values(), strict=True))
    return Block(title, tuple(columns), rows, bold, tight=frozenset({1, 2}))


def _notes(result: VerdictResult) -> list[str]:
    """How to read the answer's table, one sentence a line."""
    values = {"look": result.table.spec.look, "curve": result.curve is not None}
    return render("verdict_notes.txt.j2", values).splitlines()


def render_verdict(context: VerdictContext, result: VerdictResult) -> str:
    """The page as Markdown (``templates/verdict.md.j2``)."""
    table, fmt = result.table, TextFormat(result.table.metric)
    steps, answer, curve = attribution(table, result.column), answer_block(result), result.curve
    columns = list(zip(*curve.values.values(), strict=True)) if curve is not None else []
    means = [fmt.value(sum(column) / len(column)) for column in columns]
    page = render_markdown(replace(table, spec=replace(table.spec, ablations={})))
    values = {
        "context": context,
        "title": escape_markdown(context.title),
        "headline": " ".join(map(escape_markdown, headline_lines(context, result))),
        "answer": markdown_grid(answer.header, answer.rows),
        "notes": _notes(result),
        "attribution": markdown_grid(steps.header, steps.rows) if steps.rows else "",
        "curve": markdown_grid([str(n) for n in curve.labels], [means]) if curve is not None and means else "",
        "parts": _PARTS,
        "table": page.replace("## ", "### ", 1),
    }
    return render("verdict.md.j2", values).rstrip() + "\n"


def render_verdict_terminal(context: VerdictContext, result: VerdictResult, width: int, colour: bool) -> str:
    """The answer and its table for a terminal; arguments as `trigan.tables.layout.text.render_terminal`."""
    first, *others = headline_lines(context, result)
    texts = [Text(first, style="bold"), *map(Text, others), Text()]
    return terminal_text([*texts, brief(result.table)], width, colour)


def render_verdict_html(context: VerdictContext, result: VerdictResult, report: ReportData, folder: Path) -> str:
    """The page as one HTML file that fetches nothing; the context's pictures lie in ``folder``."""
    lines = headline_lines(context, result)
    answer = render("verdict_answer.html.j2", {"block": answer_block(result), "notes": _notes(result)})
    steps = attribution(result.table, result.column)
    sections = [
        scores(report),
        Section("answer", "Every way of using a GAN", answer),
        _images(context, folder),
        samples(report),
        *(
            [
                Section(
                    "parts", "Parts of the gains", render("verdict_answer.html.j2", {"block": steps, "notes": [_PARTS]})
                )
            ]
            if steps.rows
            else []
        ),
        cost(report),
        curves(report),
        results(report),
        runs_behind(report),
    ]
    values = {
        "title": context.title,
        "lead": lines,
        "missing": [],
        "words": [
            ("Command", context.command),
            ("Run", f"{context.trials} trial{'s' if context.trials > 1 else ''} in {_minutes(context.minutes)}"),
            ("Augmentation", context.augmentation or "none"),
        ],
        "sections": sections,
        "runs": sum(len(cell.records) for cell in result.table.cells.values()),
    }
    return render_page("report.html.j2", values, TEMPLATES)


def _images(context: VerdictContext, folder: Path) -> Section:
    """Pictures of images; the scores are drawn by the page itself."""
    figures = []
    for name, caption in context.pictures.items():
        if name in (REAL_FILE, MISTAKES_FILE):
            source, size = encode_image(folder / name)
            figures.append(Figure("image", {"source": source, "size": size, "css": ""}, caption, caption))
    return Section("images", "Images", render("section.html.j2", {"parts": [Part(figures=figures)]}))


def _equivalent(labels: LabelEquivalent | None) -> str:
    if labels is None:
        return "-"
    ends = "" if labels.low is None or labels.high is None else f" [{_labels(labels.low)}, {_labels(labels.high)}]"
    return _labels(labels.labels) + ends


def _labels(number: float) -> str:
    """Two significant digits."""
    if number in (0, math.inf):
        return "more than all tried" if number else "fewer than any tried"
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):.{max(0, digits)}f}"

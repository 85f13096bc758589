"""Scores of every trial, with the interval that n allows; against labels where columns differ in them; against cost."""

import math
from collections.abc import Sequence

from trigan.reports.figures import Axis, Dot, Figure, Frame, Part, Section, Series, linear_axis, render, tick_text
from trigan.reports.report_data import ReportData
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import data_used_text, format_flops
from trigan.tables.rows import label_budget
from trigan.tables.statistics import t_interval

#: Pixels between two rows' marks at the same number of labels.
_APART = 6
#: Width of a digit in pixels.
_DIGIT = 7
#: Offsets of a point's number, in order of preference.
_OFFSETS = ((8, 4), (-15, 4), (-4, -8), (-4, 17), (8, -8), (8, 16), (-15, -8), (-15, 16), (16, 4), (-24, 4))


def interval(cell: Cell) -> tuple[float, float] | None:
    """The range drawn around a mean: from 5 trials its 95 % t interval, with 3 or 4 the range, below that None."""
    if cell.summary is None or cell.n < 3:
        return None
    if cell.n < 5:
        return cell.summary.low, cell.summary.high
    found = t_interval(list(cell.values.values()), cell.test_over_train)
    return found.low, found.high


def explain_marks(cells: Sequence[Cell]) -> str:
    """The meaning of dots and lines, in words."""
    return render("explain_marks.txt.j2", {"cells": cells})


def scores(report: ReportData) -> Section:
    """Accuracy against labels for columns that differ in them, else a line of dots for each row."""
    groups = _budgets(report)
    parts = [_curves(report, group) for group in groups]
    curved = {column for group in groups for column, _ in group}
    columns = [column for column in report.table.spec.columns if column not in curved and report.cells(column)]
    parts += [Part(report.subheading(column), figures=[_dots(report, column)]) for column in columns]
    title = f"Test {report.table.metric.label} of every trial"
    return Section("scores", title, render("section.html.j2", {"parts": parts}))


def _score_axis(report: ReportData, cells: Sequence[Cell]) -> Axis:
    """An axis that contains all values and intervals of the cells."""
    values = [v for cell in cells for v in (*cell.values.values(), *(interval(cell) or ()))]
    return linear_axis([report.scale * value for value in values], report.score)


def _dots(report: ReportData, column: str) -> Figure:
    cells = report.cells(column)
    axis = _score_axis(report, list(cells.values()))
    kinds = list(dict.fromkeys(map(data_used_text, cells.values())))
    rows = [(row, cell, interval(cell), kinds.index(data_used_text(cell))) for row, cell in cells.items()]
    data = {"axis": axis, "rows": rows, "scale": report.scale, "fmt": report.text_format}
    key = [("mark", index, f"uses {kind}") for index, kind in enumerate(kinds)]
    texts = "; ".join(f"{row} {report.text_format.cell(cell)}" for row, cell in cells.items())
    caption = explain_marks(list(cells.values())) + " Colours show which data a row uses."
    return Figure("rows", data, f"{report.score} on {column}: {texts}", caption, key=key)


def _budgets(report: ReportData) -> list[list[tuple[str, int]]]:
    """Columns of one data set that differ in their number of labels, with it, smallest first; groups of two or more."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for column in report.table.spec.columns:
        records = [record for cell in report.cells(column).values() for record in cell.records]
        if records:
            data = records[0]["tags"]["data"], records[0]["result"]["split"].get("fingerprint", "")
            groups.setdefault(data, []).append((column, max(map(label_budget, records))))
    ordered = [sorted(group, key=lambda one: one[1]) for group in groups.values()]
    return [group for group in ordered if 1 < len(group) == len({labels for _, labels in group})]


def _curves(report: ReportData, group: Sequence[tuple[str, int]]) -> Part:
    """One panel a strategy, the reference row in each of them."""
    spec, reference = report.table.spec, report.table.spec.reference
    strategies: dict[str, list[str]] = {}
    for row in spec.rows:
        records = [record for column, _ in group for record in report.table.cells[row, column].records]
        if records and row != reference:
            strategies.setdefault(records[0]["tags"]["strategy"], []).append(row)
    cells = [cell for row in spec.rows for column, _ in group if (cell := report.table.cells[row, column]).values]
    frame = Frame(_labels_axis([labels for _, labels in group]), _score_axis(report, cells))
    first = [reference] if reference is not None else []
    panels = [_panel(report, group, frame, name, [*first, *rows]) for name, rows in strategies.items()]
    words = (
        f"{cells[0].records[0]['tags']['data']}: {report.score} against the number of labels, training and selection "
        f"together, on a logarithmic axis. {explain_marks(cells)}"
    )
    if reference is not None:
        words += f" The reference row, {reference}, is in every panel."
    return Part(intro=words, panels=panels)


def _labels_axis(numbers: Sequence[int]) -> Axis:
    low, high = min(numbers), max(numbers)
    room = (high / low) ** 0.08
    return Axis(low / room, high * room, tuple((n, tick_text(n)) for n in numbers), "labels", log=True)


def _panel(
    report: ReportData, group: Sequence[tuple[str, int]], frame: Frame, name: str, rows: Sequence[str]
) -> Figure:
    series, words = [], []
    for index, row in enumerate(rows):
        shift = _APART * (index - (len(rows) - 1) / 2)
        points, dots, whiskers = [], [], []
        for column, labels in group:
            cell = report.table.cells[row, column]
            if cell.summary is None:
                continue
            x = frame.at(labels, frame.y.low)[0] + shift
            points.append((x, frame.at(labels, report.scale * cell.summary.mean)[1]))
            if (ends := interval(cell)) is not None:
                low, high = (frame.at(labels, report.scale * end)[1] for end in ends)
                whiskers.append((x, low, high))
            for trial, value in cell.values.items():
                at = x, frame.at(labels, report.scale * value)[1]
                title = f"{row}, {labels} labels, trial {trial}: {report.text_format.value(value)}"
                dots.append(Dot(at, 3, title, cell.incomplete, cell.diverged_in(trial)))
            words.append(f"{labels} labels: {row} {report.text_format.cell(cell)}")
        series.append(Series(points, dots, whiskers))
    alt = f"{report.score} against labels, {name}: {'; '.join(words)}"
    key = [("line, mark", index, row) for index, row in enumerate(rows) if series[index].line]
    return Figure("chart", {"frame": frame, "series": series, "texts": ()}, alt, title=name, key=key)


def cost(report: ReportData) -> Section:
    """Mean score over mean cost, one mark a row; rows of unknown cost are left out."""
    parts = [_cost_plot(report, column) for column in report.table.spec.columns if report.cells(column)]
    title = f"Cost and {report.table.metric.label}"
    return Section("cost", title, render("section.html.j2", {"parts": parts}))


def _cost_plot(report: ReportData, column: str) -> Part:
    points = [
        (row, cell.flops, cell.summary.mean)
        for row, cell in report.cells(column).items()
        if cell.flops is not None and cell.summary is not None
    ]
    axis, zero = _operations([flops for _, flops, _ in points])
    frame = Frame(axis, linear_axis([report.scale * mean for *_, mean in points], report.score), 460, 310, right=34)
    places = [frame.at(flops or zero, report.scale * mean) for _, flops, mean in points]
    texts = [f"{row}: {report.text_format.value(mean)} for {format_flops(flops)}" for row, flops, mean in points]
    dots = [Dot(at, 4.5, text) for at, text in zip(places, texts, strict=True)]
    numbers = [(x, y, i + 1) for i, (x, y) in enumerate(_beside(places))]
    alt = f"Mean {report.score} over counted operations on {column}: {'; '.join(texts)}"
    caption = "Mean over runs; FLOPs of all stages of a run, reused or not, on a logarithmic axis."
    data = {"frame": frame, "series": [Series(dots=dots)], "texts": numbers}
    return Part(report.subheading(column), figures=[Figure("chart", data, alt, caption)], numbered=texts)


def _operations(counts: Sequence[float]) -> tuple[Axis, float]:
    """A logarithmic axis, and the position of a cost of zero on it: a tick of its own at the left."""
    above = [math.log10(count) for count in counts if count > 0] or [0.0]
    low, high = math.floor(min(above)), math.ceil(max(above))
    high = max(high, low + 1)
    step = math.ceil((high - low) / 5)
    ticks = [(10.0**power, format_flops(10.0**power)) for power in range(low, high + 1, step)]
    left = low - 0.15 * (high - low) if 0 in counts else float(low)
    zero = 10.0 ** (left + 0.04 * (high - low))
    if 0 in counts:
        ticks.insert(0, (zero, "0"))
    return Axis(10.0**left, 10.0**high, tuple(ticks), "counted operations a run", log=True), zero


def _beside(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Position of each point's number: the first that covers no point and no other number."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    positions = []
    for index, (x, y) in enumerate(places):
        width = _DIGIT * len(str(index + 1))
        boxes = [(x + dx, y + dy - 9, x + dx + width, y + dy) for dx, dy in _OFFSETS]
        free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
        box = (free or boxes)[0]
        taken.append(box)
        positions.append((box[0], box[3]))
    return positions


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

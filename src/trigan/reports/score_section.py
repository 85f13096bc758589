"""Scores of every trial, with the interval that n allows; against the number of labels if columns differ in it."""

from collections.abc import Sequence

from trigan.reports.chart import (
    Axis,
    Frame,
    chart,
    cross,
    icon,
    label,
    line,
    line_icon,
    linear_axis,
    mark,
    number,
    stroke,
    svg,
    tick_text,
)
from trigan.reports.report_data import Figure, Part, ReportData, Section, render
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import data_used_text
from trigan.tables.rows import label_budget
from trigan.tables.statistics import t_interval

_WIDTH, _LINE, _SIDE = 440, 44, 12
#: Pixels between two rows' marks at the same number of labels.
_APART = 6


def interval(cell: Cell) -> tuple[float, float] | None:
    """The range drawn around a mean: from 5 trials its 95 % t interval, with 3 or 4 the range, below that None."""
    if cell.summary is None or cell.evidence == "values":
        return None
    if cell.evidence == "range":
        return cell.summary.low, cell.summary.high
    found = t_interval(list(cell.values.values()), cell.test_over_train)
    return found.low, found.high


def explain_marks(cells: Sequence[Cell]) -> str:
    """The meaning of dots and lines, in words."""
    kinds = {cell.evidence for cell in cells}
    parts = ["A dot is a trial"]
    if any(cell.diverged for cell in cells):
        parts.append("a cross is one of which a run diverged")
    if any(cell.incomplete for cell in cells):
        parts.append("hollow dots are of a row that lacks trials")
    if "range" in kinds:
        parts.append("with 3 or 4 trials the line goes from the lowest to the highest and is no interval")
    if kinds & {"exploratory", "headline"}:
        corrected = any(cell.test_over_train is not None for cell in cells)
        factor = " with Nadeau and Bengio's factor, as trials redraw the test set" if corrected else ""
        parts.append(f"from 5 trials the line is the 95 % t interval of the mean{factor}")
    parts.append("rows share their trials, so differences are judged by the table, not by whether lines overlap")
    return "; ".join(parts) + "."


def section(report: ReportData) -> Section:
    """Accuracy against labels for columns that differ in them, else a line of dots for each row."""
    groups = _budgets(report)
    parts = [_curves(report, group) for group in groups]
    curved = {column for group in groups for column, _ in group}
    columns = [column for column in report.table.spec.columns if column not in curved and any(report.cells(column))]
    parts += [Part(report.subheading(column), figures=[_dots(report, column)]) for column in columns]
    title = f"Test {report.table.metric.label} of every trial"
    return Section("scores", title, render("section.html.j2", {"parts": parts}))


def _score_axis(report: ReportData, cells: Sequence[Cell]) -> Axis:
    """An axis that contains all values and intervals of the cells."""
    values = [v for cell in cells for v in (*cell.values.values(), *(interval(cell) or ()))]
    return linear_axis([report.scale * value for value in values], report.score)


def _trial_mark(
    report: ReportData, cell: Cell, trial: int, at: tuple[float, float], index: int, radius: float, row: str
) -> str:
    """A trial's dot, or its cross if a run of it diverged; ``row`` begins its tooltip."""
    title = f"{row}, trial {trial}: {report.text_format.value(cell.values[trial])}"
    if cell.diverged_in(trial):
        return cross(*at, index, title)
    return mark(*at, index, radius, cell.incomplete, title)


def _dots(report: ReportData, column: str) -> Figure:
    cells = list(report.cells(column))
    axis = _score_axis(report, [cell for _, cell in cells])
    height = 14 + _LINE * len(cells) + 40
    kinds = list(dict.fromkeys(data_used_text(cell) for _, cell in cells))
    parts = []
    for value, text in axis.ticks:
        x = number(_across(axis, value))
        parts.append(f'<path class="rule" d="M{x} 6V{height - 40}"/>')
        parts.append(label(float(x), height - 24, text, "soft", "middle"))
    parts.append(label(_WIDTH - _SIDE, height - 6, axis.label, "soft", "end"))
    for index, (row, cell) in enumerate(cells):
        parts += _row(report, axis, 14 + _LINE * index, row, cell, kinds.index(data_used_text(cell)))
    key = [(icon(mark(9, 6, index)), f"uses {kind}") for index, kind in enumerate(kinds)]
    alt = f"{report.score} on {column}: " + "; ".join(f"{row} {report.text_format.cell(cell)}" for row, cell in cells)
    caption = explain_marks([cell for _, cell in cells]) + " Colours show which data a row uses."
    return Figure(svg(_WIDTH, height, parts, alt), caption, key=key)


def _across(axis: Axis, value: float) -> float:
    return _SIDE + axis.share(value) * (_WIDTH - 2 * _SIDE)


def _row(report: ReportData, axis: Axis, top: int, row: str, cell: Cell, colour: int) -> list[str]:
    """The row's name and mean, the line around the mean, and the dots in the order of their trials."""
    scale, middle = report.scale, top + 26
    # The box hides the rules behind the name.
    box = f'x="{_SIDE - 4}" y="{top - 2}" width="{7 * len(row) + 8}" height="15"'
    parts = [f'<rect class="paper" {box} opacity=".85"/>', label(_SIDE, top + 10, row)]
    if cell.summary is not None and (ends := interval(cell)):
        parts.append(label(_WIDTH - _SIDE, top + 10, report.text_format.value(cell.summary.mean), "title", "end"))
        low, high, mean = (number(_across(axis, scale * v)) for v in (*ends, cell.summary.mean))
        path = f"M{low} {number(middle)}H{high}M{mean} {number(middle - 9)}v18"
        parts.append(stroke(path, colour, opacity=0.6))
    for index, trial in enumerate(cell.values):
        at = _across(axis, scale * cell.values[trial]), middle + 3 * (index - (cell.n - 1) / 2) * min(1, 5 / cell.n)
        parts.append(_trial_mark(report, cell, trial, at, colour, 3.6, row))
    return parts


def _budgets(report: ReportData) -> list[list[tuple[str, int]]]:
    """Columns of one data set that differ in their number of labels, with it, smallest first; groups of two or more."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for column in report.table.spec.columns:
        records = [record for _, cell in report.cells(column) for record in cell.records]
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
        f"together, drawn to scale in logarithms. {explain_marks(cells)}"
    )
    if reference is not None:
        words += f" The reference row, {reference}, stands in every panel."
    return Part(intro=words, panels=panels)


def _labels_axis(numbers: Sequence[int]) -> Axis:
    low, high = min(numbers), max(numbers)
    room = (high / low) ** 0.08
    return Axis(low / room, high * room, tuple((n, tick_text(n)) for n in numbers), "labels", log=True)


def _panel(
    report: ReportData, group: Sequence[tuple[str, int]], frame: Frame, name: str, rows: Sequence[str]
) -> Figure:
    parts, key, words = [], [], []
    for index, row in enumerate(rows):
        shift = _APART * (index - (len(rows) - 1) / 2)
        points, dots = [], []
        for column, labels in group:
            cell = report.table.cells[row, column]
            if cell.summary is None:
                continue
            x, y = frame.at(labels, report.scale * cell.summary.mean)
            points.append((x + shift, y))
            if ends := interval(cell):
                low, high = (number(frame.at(labels, report.scale * end)[1]) for end in ends)
                dots.append(stroke(f"M{number(x + shift)} {low}V{high}", index, opacity=0.6))
            for trial, value in cell.values.items():
                at = x + shift, frame.at(labels, report.scale * value)[1]
                dots.append(_trial_mark(report, cell, trial, at, index, 3, f"{row}, {labels} labels"))
            words.append(f"{labels} labels: {row} {report.text_format.cell(cell)}")
        if points:
            parts += [line(points, index), *dots]
            key.append((line_icon(index, mark(9, 6, index)), row))
    alt = f"{report.score} against labels, {name}: {'; '.join(words)}"
    return Figure(chart(frame, parts, alt), "", name, key)

"""The scores as pictures: every trial a dot, and the interval that n allows; over labels where these vary."""

from collections.abc import Sequence

from trigan.reports.chart import (
    Axis,
    Frame,
    chart,
    cross,
    figure,
    label,
    legend,
    line,
    linear_axis,
    mark,
    number,
    panels,
    stroke,
    svg,
    tick_text,
)
from trigan.reports.report_data import ReportData, Section, by_column
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import data_used_text
from trigan.tables.layout.html import escape
from trigan.tables.statistics import t_interval

_WIDTH, _LINE, _SIDE = 440, 44, 12
#: Pixels between two rows' marks at the same number of labels.
_APART = 6


def interval(cell: Cell) -> tuple[float, float] | None:
    """What stands around a mean: from 5 trials its 95 % t interval, with 3 or 4 the range, and below that nothing."""
    if cell.summary is None or cell.evidence == "values":
        return None
    if cell.evidence == "range":
        return cell.summary.low, cell.summary.high
    found = t_interval(list(cell.values.values()), cell.test_over_train)
    return found.low, found.high


def explain_marks(cells: Sequence[Cell]) -> str:
    """What the lines around the means are, in words."""
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
    """Accuracy over labels where columns differ in them, else a line of dots for each row."""
    groups = _budgets(report)
    curved = {column for group in groups for column, _ in group}
    parts = [_curves(report, group) for group in groups]
    rest = {c: _dots(report, c) for c in report.table.spec.columns if c not in curved and any(report.cells(c))}
    if rest:
        parts.append(by_column(report, rest))
    title = f"Test {report.table.metric.label} of every trial"
    return Section("scores", title, "\n".join(parts) or "<p>No run has this score.</p>")


def cell_text(report: ReportData, row: str, cell: Cell) -> str:
    """A cell in words, for those who do not see its dots."""
    return f"{row} {report.text_format.cell(cell)}"


def _dots(report: ReportData, column: str) -> str:
    cells, scale = list(report.cells(column)), report.scale
    ends = [end for _, cell in cells for end in (interval(cell) or ())]
    axis = linear_axis([scale * v for _, cell in cells for v in (*cell.values.values(), *ends)], report.score)
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
    entries = [(mark(9, 6, index), f"uses {kind}") for index, kind in enumerate(kinds)]
    alt = f"{report.score} on {column}: " + "; ".join(cell_text(report, row, cell) for row, cell in cells)
    caption = explain_marks([cell for _, cell in cells]) + " Colours show which data a row uses."
    return figure(svg(_WIDTH, height, parts, alt) + legend(entries), caption)


def _across(axis: Axis, value: float) -> float:
    return _SIDE + axis.share(value) * (_WIDTH - 2 * _SIDE)


def _row(report: ReportData, axis: Axis, top: int, row: str, cell: Cell, colour: int) -> list[str]:
    """The row's name and mean, the line around the mean, and the dots in the order of their trials."""
    scale, middle = report.scale, top + 26
    # The name hides the rules behind it.
    box = f'x="{_SIDE - 4}" y="{top - 2}" width="{7 * len(row) + 8}" height="15"'
    parts = [f'<rect class="paper" {box} opacity=".85"/>', label(_SIDE, top + 10, row)]
    if cell.summary is not None and cell.n > 2:
        mean = report.text_format.value(cell.summary.mean)
        parts.append(label(_WIDTH - _SIDE, top + 10, mean, "title", "end"))
        parts += _whisker(axis, scale, cell, middle, colour)
    for place, trial in enumerate(cell.values):
        x, y = _across(axis, scale * cell.values[trial]), middle + 3 * (place - (cell.n - 1) / 2) * min(1, 5 / cell.n)
        told = f"{row}, trial {trial}: {report.text_format.value(cell.values[trial])}"
        diverged = any(record["result"]["status"] == "diverged" for record in cell.by_trial[trial])
        sign = cross(x, y, colour, told) if diverged else mark(x, y, colour, 3.6, cell.incomplete, told)
        parts.append(sign)
    return parts


def _whisker(axis: Axis, scale: float, cell: Cell, y: float, colour: int) -> list[str]:
    ends = interval(cell)
    if ends is None or cell.summary is None:
        return []
    low, high, mean = (number(_across(axis, scale * v)) for v in (*ends, cell.summary.mean))
    path = f"M{low} {number(y)}H{high}M{mean} {number(y - 9)}v18"
    return [stroke(path, colour, opacity=0.6)]


def _budgets(report: ReportData) -> list[list[tuple[str, int]]]:
    """Columns of one data set that differ in their number of labels, with it, smallest first; groups of two or more."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for column in report.table.spec.columns:
        records = [record for _, cell in report.cells(column) for record in cell.records]
        if records:
            data = records[0]["tags"]["data"], records[0]["result"]["split"].get("fingerprint", "")
            labels = max(sum(record["result"]["labels"].values()) for record in records)
            groups.setdefault(data, []).append((column, labels))
    found = [sorted(group, key=lambda one: one[1]) for group in groups.values()]
    return [group for group in found if 1 < len(group) == len({labels for _, labels in group})]


def _curves(report: ReportData, group: Sequence[tuple[str, int]]) -> str:
    """A panel a strategy, the reference row in each of them."""
    spec = report.table.spec
    strategies: dict[str, list[str]] = {}
    for row in spec.rows:
        records = [record for column, _ in group for record in report.table.cells[row, column].records]
        if records and row != spec.reference:
            strategies.setdefault(records[0]["tags"]["strategy"], []).append(row)
    cells = [report.table.cells[row, column] for row in spec.rows for column, _ in group]
    cells = [cell for cell in cells if cell.values]
    scale = report.scale
    ends = [end for cell in cells for end in (interval(cell) or ())]
    y = linear_axis([scale * v for cell in cells for v in (*cell.values.values(), *ends)], report.score)
    frame = Frame(_labels_axis([labels for _, labels in group]), y)
    first = [spec.reference] if spec.reference is not None else []
    shown = [_panel(report, group, frame, name, [*first, *rows]) for name, rows in strategies.items()]
    data = cells[0].records[0]["tags"]["data"]
    words = f"{data}: {report.score} against the number of labels, training and selection together, drawn to scale "
    words += f"in logarithms. {explain_marks(cells)}"
    if first:
        words += f" The reference row, {first[0]}, stands in every panel."
    return f"<p>{escape(words)}</p>\n{panels(shown)}"


def _labels_axis(numbers: Sequence[int]) -> Axis:
    low, high = min(numbers), max(numbers)
    room = (high / low) ** 0.08
    return Axis(low / room, high * room, tuple((n, tick_text(n)) for n in numbers), "labels", log=True)


def _panel(report: ReportData, group: Sequence[tuple[str, int]], frame: Frame, name: str, rows: Sequence[str]) -> str:
    parts, entries, words = [], [], []
    for index, row in enumerate(rows):
        points, dots = [], []
        for column, labels in group:
            cell = report.table.cells[row, column]
            if cell.summary is None:
                continue
            shift = _APART * (index - (len(rows) - 1) / 2)
            x, y = frame.at(labels, report.scale * cell.summary.mean)
            points.append((x + shift, y))
            dots += _trials(report, frame, labels, shift, index, row, cell)
            words.append(f"{labels} labels: {cell_text(report, row, cell)}")
        if points:
            parts += [line(points, index), *dots]
            entries.append((line([(0, 6), (18, 6)], index) + mark(9, 6, index), row))
    alt = f"{report.score} against labels, {name}: {'; '.join(words)}"
    return figure(chart(frame, parts, alt) + legend(entries), "", name)


def _trials(report: ReportData, frame: Frame, labels: int, shift: float, index: int, row: str, cell: Cell) -> list[str]:
    scale, parts, ends = report.scale, [], interval(cell)
    if ends is not None:
        (x, low), (_, high) = (frame.at(labels, scale * end) for end in ends)
        parts.append(stroke(f"M{number(x + shift)} {number(low)}V{number(high)}", index, opacity=0.6))
    for trial, value in cell.values.items():
        x, y = frame.at(labels, scale * value)
        told = f"{row}, {labels} labels, trial {trial}: {report.text_format.value(value)}"
        diverged = any(record["result"]["status"] == "diverged" for record in cell.by_trial[trial])
        sign = cross(x + shift, y, index, told) if diverged else mark(x + shift, y, index, 3, cell.incomplete, told)
        parts.append(sign)
    return parts

"""Scores of every trial, with the interval that n allows; against the number of labels if columns differ in it."""

from collections.abc import Sequence

from trigan.reports.chart import Axis, Dot, Frame, Series, linear_axis, tick_text
from trigan.reports.figures import Figure, Part, Section, render
from trigan.reports.report_data import ReportData
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import data_used_text
from trigan.tables.rows import label_budget
from trigan.tables.statistics import t_interval

#: Pixels between two rows' marks at the same number of labels.
_APART = 6


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


def _dots(report: ReportData, column: str) -> Figure:
    cells = dict(report.cells(column))
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

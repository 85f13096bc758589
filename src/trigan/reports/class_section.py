"""Class by class: where each row errs, and what it gains over the reference row."""

import base64
import io
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from trigan.reports.chart import Axis, figure, label, linear_axis, mark, number, panels, svg
from trigan.reports.report_data import ReportData, Section, by_column, class_names
from trigan.tables.cell import Cell
from trigan.tables.layout.html import escape
from trigan.tables.paired_comparison import data_difference

#: Classes of a matrix that is drawn with numbers; beyond them it is a picture of a pixel a square.
MAX_NUMBERED = 20
#: Classes shown by their gains: where there are more, those with the lowest and highest.
MAX_GAINS = 20
_SQUARE, _LINE = 26, 18
#: Letters of a class's name beside a matrix.
_LETTERS = 10


def confusion(report: ReportData) -> Section:
    """The confusion matrices, each the mean over trials."""
    parts = {}
    for column in report.table.spec.columns:
        shown = [_matrix(row, cell) for row, cell in report.cells(column)]
        if shown:
            parts[column] = panels(shown)
    words = "<p>Rows are the true class, columns the predicted one: per cent of the true class, mean over runs.</p>"
    return Section("confusion", "Confusion", f"{words}\n{by_column(report, parts)}")


def confusion_shares(cell: Cell) -> np.ndarray:
    """Mean over runs of each true class's share by predicted class, (K, K); a class without images has zeros."""
    found = []
    for record in cell.records:
        counts = np.asarray(record["result"]["test"]["confusion"], dtype=np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        found.append(np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0))
    return np.mean(found, axis=0)


def _matrix(row: str, cell: Cell) -> str:
    share, names = confusion_shares(cell), class_names(cell.records[0])
    confused = share - np.diag(np.diag(share))
    worst = np.argsort(-confused, axis=None, kind="stable")[:3]
    pairs = [(int(i), int(j)) for i, j in (divmod(int(one), len(share)) for one in worst) if confused[i, j] > 0]
    words = ", ".join(f"{names[i]} as {names[j]} ({100 * share[i, j]:.0f}\u00a0%)" for i, j in pairs) or "nothing"
    alt = f"Confusion matrix of {row}. Most often confused: {words}"
    caption = f"Most often confused: {words}; mean over {len(cell.records)} runs."
    return figure(_numbers(share, names, alt) if len(share) <= MAX_NUMBERED else _pixels(share, alt), caption, row)


def _numbers(share: np.ndarray, names: Sequence[str], alt: str) -> str:
    longest = min(_LETTERS, max(map(len, names)))
    left, size = 8 + 7 * longest, _SQUARE * len(share)
    slanted = longest > 3  # as much of a name as beside the rows
    parts = []
    for i, j in np.ndindex(share.shape):
        if (percent := round(100 * float(share[i, j]))) == 0:
            continue
        x, y = left + _SQUARE * j, _SQUARE * i
        place = f'x="{x}" y="{y}" width="{_SQUARE - 1}" height="{_SQUARE - 1}"'
        parts.append(f'<rect class="c0 own" {place} opacity="{max(0.12, share[i, j]):.2f}"/>')
        ink = "small over" if share[i, j] > 0.5 else "small"
        parts.append(label(x + _SQUARE / 2, y + 17, str(percent), ink, "middle"))
    for index, name in enumerate(names):
        middle = _SQUARE * index + _SQUARE / 2
        short = _short(name, _LETTERS)
        parts.append(label(left - 5, middle + 4, short, "small", "end"))
        if slanted:
            parts.append(label(left + middle + 5, size + 12, short, "small", "end", -45))
        else:
            parts.append(label(left + middle, size + 14, short, "small", "middle"))
    parts.append(f'<rect class="frame" x="{left}" y="0" width="{size}" height="{size}"/>')
    return svg(left + size + 2, size + (14 + 5 * longest if slanted else 20), parts, alt)


def _short(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _pixels(share: np.ndarray, alt: str) -> str:
    from PIL import Image

    page = io.BytesIO()
    Image.fromarray(np.rint(255 * (1 - np.sqrt(share))).astype(np.uint8)).save(page, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(page.getvalue()).decode()}"
    return f'<img class="pixels" src="{source}" width="300" height="300" alt="{escape(alt)}">'


def gains(report: ReportData) -> Section | None:
    """Recall of each class minus that of the reference row, trial by trial; None without a reference."""
    reference = report.table.spec.reference
    if reference is None:
        return None
    parts = {}
    for column in report.table.spec.columns:
        against = report.table.cells[reference, column]
        found = {row: recall_gains(cell, against) for row, cell in report.cells(column) if row != reference}
        found = {row: one for row, one in found.items() if one}
        if found:
            parts[column] = _gain_panels(report, column, found)
    words = (
        f"Recall of a class minus that of {reference} in the same trial, in points. A dot is a trial, the bar their "
        "mean. Many classes and few trials: some of these differences are chance."
    )
    body = by_column(report, parts) or "<p>No row shares a trial with the reference row.</p>"
    return Section("gains", "Gains by class", f"<p>{escape(words)}</p>\n{body}")


def recall_gains(cell: Cell, against: Cell) -> dict[int, list[float]]:
    """By class with images, the difference of recall in points in each trial that both have."""
    found: dict[int, list[float]] = {}
    mine, theirs = _recalls(cell), _recalls(against)
    for trial in (trial for trial in mine if trial in theirs):
        for index, (one, other) in enumerate(zip(mine[trial], theirs[trial], strict=True)):
            if one is not None and other is not None:
                found.setdefault(index, []).append(100 * (one - other))
    return found


def _recalls(cell: Cell) -> dict[int, list[float | None]]:
    """Each trial's recall by class, the mean over its seeds."""
    recalls = {}
    for trial, group in cell.by_trial.items():
        seeds = [record["result"]["test"]["recall"] for record in group]
        recalls[trial] = [
            None if any(v is None for v in values) else fmean(v for v in values if v is not None)
            for values in zip(*seeds, strict=True)
        ]
    return recalls


def _gain_panels(report: ReportData, column: str, found: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    reference = report.table.cells[str(report.table.spec.reference), column]
    axis = linear_axis([0.0, *(v for gained in found.values() for values in gained.values() for v in values)], "points")
    shown = []
    for row, gained in found.items():
        cell = report.table.cells[row, column]
        different = data_difference(cell, reference)
        caption = f"Compared with the reference row, it {different}." if different else ""
        shown.append(_gain_panel(row, caption, axis, gained, class_names(cell.records[0])))
    return panels(shown)


def _gain_panel(row: str, caption: str, axis: Axis, gained: Mapping[int, Sequence[float]], names: Sequence[str]) -> str:
    means = {index: fmean(values) for index, values in gained.items()}
    if len(means) > MAX_GAINS:
        ordered = sorted(means, key=lambda index: (means[index], index))
        kept = sorted({*ordered[: MAX_GAINS // 2], *ordered[-MAX_GAINS // 2 :]})
        caption += f" Shown: the {MAX_GAINS} of {len(means)} classes with the lowest and highest gains."
    else:
        kept = list(means)
    left, width = 10 + 7 * min(14, max(len(names[index]) for index in kept)), 360
    height = _LINE * len(kept) + 40

    def across(value: float) -> float:
        return left + axis.share(value) * (width - left - 10)

    parts = []
    for value, text in axis.ticks:
        x = across(value)
        parts.append(f'<path class="{"frame" if value == 0 else "rule"}" d="M{number(x)} 0V{height - 36}"/>')
        parts.append(label(x, height - 22, text, "soft", "middle"))
    parts.append(label(width - 10, height - 5, axis.label, "soft", "end"))
    for place, index in enumerate(kept):
        y = _LINE * place + _LINE / 2
        parts.append(label(left - 8, y + 4, _short(names[index], 14), "small", "end"))
        ends = sorted((across(0.0), across(means[index])))
        sign = 0 if means[index] >= 0 else 1
        bar = f'x="{number(ends[0])}" y="{number(y - 5)}" width="{number(ends[1] - ends[0])}" height="10"'
        parts.append(f'<rect class="c{sign} own" {bar} opacity=".4"/>')
        parts += [mark(across(value), y, sign, 2.2) for value in gained[index]]
    told = ", ".join(f"{names[index]} {means[index]:+.1f}" for index in kept)
    alt = f"Gains in recall of {row}, points, mean over trials: {told}"
    return figure(svg(width, height, parts, alt), caption, row)

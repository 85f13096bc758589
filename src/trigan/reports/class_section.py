"""Results by class: confusion matrices, and gains in recall over the reference row."""

import io
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from markupsafe import Markup

from trigan.reports.chart import Axis, image, label, linear_axis, mark, number, svg
from trigan.reports.report_data import Figure, Part, ReportData, Section, class_names, render
from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import data_difference

#: Largest number of classes for a matrix with numbers; above it, each entry is a pixel.
MAX_NUMBERED = 20
#: Classes shown in gains; of more, those with the lowest and highest.
MAX_GAINS = 20
_SQUARE, _LINE = 26, 18
#: Letters of a class's name beside a matrix.
_LETTERS = 10


def confusion(report: ReportData) -> Section:
    """The confusion matrices, each the mean over trials."""
    parts = [
        Part(report.subheading(column), panels=[_matrix(row, cell) for row, cell in report.cells(column)])
        for column in report.table.spec.columns
        if any(report.cells(column))
    ]
    return Section("confusion", "Confusion", render("confusion.html.j2", {"parts": parts}))


def confusion_shares(cell: Cell) -> np.ndarray:
    """Mean over runs of each true class's share by predicted class, (K, K); a class without images has zeros."""
    shares = []
    for record in cell.records:
        counts = np.asarray(record["result"]["test"]["confusion"], dtype=np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        shares.append(np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0))
    return np.asarray(np.mean(shares, axis=0))


def _matrix(row: str, cell: Cell) -> Figure:
    share, names = confusion_shares(cell), class_names(cell.records[0])
    confused = share - np.diag(np.diag(share))
    worst = np.argsort(-confused, axis=None, kind="stable")[:3]
    pairs = [(int(i), int(j)) for i, j in (divmod(int(one), len(share)) for one in worst) if confused[i, j] > 0]
    words = ", ".join(f"{names[i]} as {names[j]} ({100 * share[i, j]:.0f}\u00a0%)" for i, j in pairs) or "nothing"
    alt = f"Confusion matrix of {row}. Most often confused: {words}"
    caption = f"Most often confused: {words}; mean over {len(cell.records)} runs."
    return Figure(_numbers(share, names, alt) if len(share) <= MAX_NUMBERED else _pixels(share, alt), caption, row)


def _numbers(share: np.ndarray, names: Sequence[str], alt: str) -> Markup:
    longest = min(_LETTERS, max(map(len, names)))
    left, size = 8 + 7 * longest, _SQUARE * len(share)
    slanted = longest > 3  # as many letters of a name as beside the rows
    parts = []
    for i, j in np.ndindex(share.shape):
        if (percent := round(100 * float(share[i, j]))) == 0:
            continue
        x, y = left + _SQUARE * j, _SQUARE * i
        place = f'x="{x}" y="{y}" width="{_SQUARE - 1}" height="{_SQUARE - 1}"'
        parts.append(f'<rect class="c0 own" {place} opacity="{max(0.12, share[i, j]):.2f}"/>')
        css = "small over" if share[i, j] > 0.5 else "small"
        parts.append(label(x + _SQUARE / 2, y + 17, str(percent), css, "middle"))
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


def _pixels(share: np.ndarray, alt: str) -> Markup:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.rint(255 * (1 - np.sqrt(share))).astype(np.uint8)).save(content, "PNG", optimize=True)
    return image(content.getvalue(), "png", (300, 300), alt, "pixels")


def gains(report: ReportData) -> Section | None:
    """Recall of each class minus that of the reference row, trial by trial; None without a reference."""
    reference = report.table.spec.reference
    if reference is None:
        return None
    parts = []
    for column in report.table.spec.columns:
        against = report.table.cells[reference, column]
        rows = {row: cell for row, cell in report.cells(column) if row != reference}
        found = {row: gained for row, cell in rows.items() if (gained := recall_gains(cell, against))}
        values = [v for gained in found.values() for values in gained.values() for v in values]
        axis = linear_axis([0.0, *values], "points")
        panels = [_gain_panel(row, rows[row], against, axis, gained) for row, gained in found.items()]
        if panels:
            parts.append(Part(report.subheading(column), panels=panels))
    return Section("gains", "Gains by class", render("gains.html.j2", {"parts": parts, "reference": reference}))


def recall_gains(cell: Cell, against: Cell) -> dict[int, list[float]]:
    """By class with images, the difference of recall in points in each trial that both have."""
    gained: dict[int, list[float]] = {}
    own, theirs = _recalls(cell), _recalls(against)
    for trial in (trial for trial in own if trial in theirs):
        for index, (one, other) in enumerate(zip(own[trial], theirs[trial], strict=True)):
            if one is not None and other is not None:
                gained.setdefault(index, []).append(100 * (one - other))
    return gained


def _recalls(cell: Cell) -> dict[int, list[float | None]]:
    """Each trial's recall by class, the mean over its seeds; None for a class without images."""
    recalls = {}
    for trial, group in cell.by_trial.items():
        by_class = zip(*(record["result"]["test"]["recall"] for record in group), strict=True)
        known = [[value for value in values if value is not None] for values in by_class]
        recalls[trial] = [fmean(values) if len(values) == len(group) else None for values in known]
    return recalls


def _gain_panel(row: str, cell: Cell, against: Cell, axis: Axis, gained: Mapping[int, Sequence[float]]) -> Figure:
    names, different = class_names(cell.records[0]), data_difference(cell, against)
    caption = f"Compared with the reference row, it {different}." if different else ""
    means = {index: fmean(values) for index, values in gained.items()}
    kept = list(means)
    if len(means) > MAX_GAINS:
        ordered = sorted(means, key=lambda index: (means[index], index))
        kept = sorted({*ordered[: MAX_GAINS // 2], *ordered[-MAX_GAINS // 2 :]})
        caption += f" Shown: the {MAX_GAINS} of {len(means)} classes with the lowest and highest gains."
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
    for line, index in enumerate(kept):
        y = _LINE * line + _LINE / 2
        parts.append(label(left - 8, y + 4, _short(names[index], 14), "small", "end"))
        start, stop = sorted((across(0.0), across(means[index])))
        colour = 0 if means[index] >= 0 else 1
        bar = f'x="{number(start)}" y="{number(y - 5)}" width="{number(stop - start)}" height="10"'
        parts.append(f'<rect class="c{colour} own" {bar} opacity=".4"/>')
        parts += [mark(across(value), y, colour, 2.2) for value in gained[index]]
    values = ", ".join(f"{names[index]} {means[index]:+.1f}" for index in kept)
    alt = f"Gains in recall of {row}, points, mean over trials: {values}"
    return Figure(svg(width, height, parts, alt), caption, row)

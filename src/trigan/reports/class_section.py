"""Results by class: confusion matrices, and gains in recall over the reference row."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from PIL import Image

from trigan.reports.figures import Axis, Figure, Part, Section, linear_axis, picture_address, render
from trigan.reports.report_data import ReportData, class_names
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import shorten
from trigan.tables.paired_comparison import data_difference

#: Largest number of classes for a matrix with numbers; above it, each entry is a pixel.
MAX_NUMBERED = 20
#: Classes shown in gains; of more, those with the lowest and highest.
MAX_GAINS = 20


def confusion(report: ReportData) -> Section:
    """The confusion matrices, each the mean over trials."""
    parts = [
        Part(report.subheading(column), panels=[_matrix(row, cell) for row, cell in cells.items()])
        for column in report.table.spec.columns
        if (cells := report.cells(column))
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
    if len(share) > MAX_NUMBERED:
        pixels = Image.fromarray(np.rint(255 * (1 - np.sqrt(share))).astype(np.uint8))
        data = {"source": picture_address(pixels, "png"), "size": (300, 300), "css": "pixels"}
        return Figure("image", data, alt, caption, row)
    entries = [(i, j, float(value)) for (i, j), value in np.ndenumerate(share) if round(100 * float(value))]
    short = [shorten(name, 10) for name in names]
    return Figure("matrix", {"names": short, "entries": entries}, alt, caption, row)


def gains(report: ReportData) -> Section | None:
    """Recall of each class minus that of the reference row, trial by trial; None without a reference."""
    reference = report.table.spec.reference
    if reference is None:
        return None
    parts = []
    for column in report.table.spec.columns:
        against = report.table.cells[reference, column]
        rows = {row: cell for row, cell in report.cells(column).items() if row != reference}
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
    short = [shorten(names[index], 14) for index in kept]
    classes = [(name, means[index], gained[index]) for name, index in zip(short, kept, strict=True)]
    data = {"axis": axis, "left": 10 + 7 * max(map(len, short)), "classes": classes}
    values = ", ".join(f"{names[index]} {means[index]:+.1f}" for index in kept)
    return Figure("bars", data, f"Gains in recall of {row}, points, mean over trials: {values}", caption, row)

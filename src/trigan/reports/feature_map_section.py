"""The map: which test images are alike to a classifier, by its features or, where a run kept none, by its outputs."""

from collections.abc import Sequence

import numpy as np

from trigan.reports.chart import COLOURS, figure, label, number, panels, svg
from trigan.reports.reliability_section import log_probabilities
from trigan.reports.report_data import (
    FEATURES,
    PREDICTIONS,
    ReportData,
    Section,
    by_column,
    class_names,
    median_run,
    median_run_text,
    read_features,
    read_predictions,
)
from trigan.tables.cell import Cell

#: Images on a map; maps of a column, and of a page as far as each column has one: a map takes seconds.
MAX_IMAGES, MAX_MAPS_PER_COLUMN, MAX_MAPS = 500, 4, 12
_SIDE, _EDGE = 400, 12


def section(report: ReportData) -> Section:
    """Maps of test images by what the classifiers make of them."""
    parts = {}
    for column in report.table.spec.columns:
        shown = []
        for row in _mapped(report, column):
            shown += _drawn(report, row, report.table.cells[row, column])
        if shown:
            parts[column] = panels(shown)
    words = (
        "t-SNE of a classifier's features (the input of its last layer, first reduced to 50 principal components) for "
        f"test images (at most {MAX_IMAGES}, evenly chosen): similar images lie together. Where a run has kept "
        "no features, its "
        "outputs stand for them (the logarithms of its class probabilities), and the picture says so. A symbol is the "
        "true class; a ring marks a misclassified image. Distances between groups and sizes of "
        "groups mean nothing. Drawn, as far as there is room: the reference row, the best row, and those of the "
        "primary comparisons, each by the run of the trial with the median score."
    )
    body = by_column(report, parts) if parts else "<p>No predictions are here.</p>"
    return Section("map", "Feature map", f"<p>{words}</p>\n{body}")


def _mapped(report: ReportData, column: str) -> list[str]:
    """The rows that get a map: the reference, the best, and those of the primary comparisons, as far as they go."""
    table, there = report.table, dict(report.cells(column))
    wanted = [table.spec.reference, *(row for row, where in table.best if where == column)]
    wanted += [one.row for one in table.primary if one.column == column]
    wanted += list(there)[:1]
    most = min(MAX_MAPS_PER_COLUMN, max(1, MAX_MAPS // len(table.spec.columns)))
    return [row for row in dict.fromkeys(wanted) if row is not None and row in there][:most]


def embedding(points: np.ndarray) -> np.ndarray:
    """t-SNE (N, 2) in [0, 1] of points (N, F): from the principal components, on one thread, so always the same."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(points) - 1) / 3)
    with threadpool_limits(limits=1):
        places = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(points)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-9)


def _drawn(report: ReportData, row: str, cell: Cell) -> list[str]:
    """The map of a cell's typical run, if its files are here."""
    record = median_run(cell)
    path, kept = report.file(record, PREDICTIONS), report.file(record, FEATURES)
    if path is None:
        return []
    scores, labels = read_predictions(path)
    if kept is not None:
        points, chosen = read_features(kept, len(labels))
    else:
        chosen = np.linspace(0, len(labels) - 1, min(MAX_IMAGES, len(labels))).round().astype(int)
        points = log_probabilities(scores[chosen])
    wrong = scores[chosen].argmax(axis=1) != labels[chosen]
    told = f"the {'features' if kept is not None else 'outputs'} of {median_run_text(report, row, cell)}"
    return [_map(told, embedding(points), labels[chosen], wrong, class_names(cell.records[0]))]


def _map(told: str, places: np.ndarray, labels: np.ndarray, wrong: np.ndarray, names: Sequence[str]) -> str:
    signs = _signs(names)
    parts = []
    for (across, up), true, missed in zip(places, labels, wrong, strict=True):
        x, y = (_EDGE + share * (_SIDE - 2 * _EDGE) for share in (across, 1 - up))
        parts.append(label(x, y + 3.5, signs[true], f"small own c{true % COLOURS}", "middle"))
        if missed:
            parts.append(f'<circle class="frame" cx="{number(x)}" cy="{number(y)}" r="7"/>')
    alt = f"Map of {len(labels)} test images by {told}: {int(wrong.sum())} are misclassified"
    legend = (
        "" if signs == list(names) else " Symbols: " + ", ".join(map(" ".join, zip(signs, names, strict=True))) + "."
    )
    caption = f"{len(labels)} images, {int(wrong.sum())} of them misclassified.{legend}"
    return figure(svg(_SIDE, _SIDE, parts, alt), caption, told[4].upper() + told[5:])


def _signs(names: Sequence[str]) -> list[str]:
    """One or two letters a class: its name where that is short, else its number."""
    return list(names) if all(len(name) <= 2 for name in names) else [str(index) for index in range(len(names))]

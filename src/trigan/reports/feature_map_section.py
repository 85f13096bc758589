"""The feature map: t-SNE of test images by a classifier's features, or by its outputs if a run kept no features."""

import numpy as np

from trigan.reports.figures import Figure, Part, Section, render
from trigan.reports.reliability_section import log_probabilities
from trigan.reports.report_data import (
    FEATURES,
    PREDICTIONS,
    ReportData,
    class_names,
    median_run,
    median_run_text,
    read_features,
    read_predictions,
)
from trigan.tables.cell import Cell

#: Images on a map; maps of a column and of a page (at least one a column): a map takes seconds.
MAX_IMAGES, MAX_MAPS_PER_COLUMN, MAX_MAPS = 500, 4, 12


def section(report: ReportData) -> Section:
    """Maps of test images for the reference row, the best row and the rows of the primary comparisons."""
    parts = []
    for column in report.table.spec.columns:
        shown = [_cell_map(report, row, report.table.cells[row, column]) for row in _mapped(report, column)]
        if maps := [figure for figure in shown if figure is not None]:
            parts.append(Part(report.subheading(column), panels=maps))
    return Section("map", "Feature map", render("map.html.j2", {"parts": parts, "images": MAX_IMAGES}))


def _mapped(report: ReportData, column: str) -> list[str]:
    """The rows that get a map; the first row with a value if there is no other."""
    table, present = report.table, dict(report.cells(column))
    rows = [table.spec.reference, *(row for row, other in table.best if other == column)]
    rows += [one.row for one in table.primary if one.column == column]
    rows += list(present)[:1]
    limit = min(MAX_MAPS_PER_COLUMN, max(1, MAX_MAPS // len(table.spec.columns)))
    return [row for row in dict.fromkeys(rows) if row is not None and row in present][:limit]


def embedding(points: np.ndarray) -> np.ndarray:
    """t-SNE (N, 2) in [0, 1] of points (N, F): from the principal components, on one thread, so always the same."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(points) - 1) / 3)
    with threadpool_limits(limits=1):
        places = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(points)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray((places - low) / np.maximum(high - low, 1e-9))


def _cell_map(report: ReportData, row: str, cell: Cell) -> Figure | None:
    """The map of a cell's median run, if its files exist."""
    record = median_run(cell)
    path, features = report.file(record, PREDICTIONS), report.file(record, FEATURES)
    if path is None:
        return None
    scores, labels = read_predictions(path)
    if features is not None:
        points, chosen = read_features(features, len(labels))
    else:
        chosen = np.linspace(0, len(labels) - 1, min(MAX_IMAGES, len(labels))).round().astype(int)
        points = log_probabilities(scores[chosen])
    wrong = scores[chosen].argmax(axis=1) != labels[chosen]
    names = class_names(record)
    short = all(len(name) <= 2 for name in names)
    symbols = names if short else [str(index) for index in range(len(names))]
    shown = [
        (across, up, symbols[true], int(true), bool(missed))
        for (across, up), true, missed in zip(embedding(points).tolist(), labels[chosen], wrong, strict=True)
    ]
    kind, count = "outputs" if features is None else "features", int(wrong.sum())
    source = f"{kind} of {median_run_text(report, row, cell)}"
    alt = f"Map of {len(chosen)} test images by the {source}: {count} are misclassified"
    key = ", ".join(map(" ".join, zip(symbols, names, strict=True)))
    caption = f"{len(chosen)} images, {count} of them misclassified.{'' if short else f' Symbols: {key}.'}"
    return Figure("map", {"points": shown}, alt, caption, source[0].upper() + source[1:])

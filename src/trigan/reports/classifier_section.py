"""What the classifiers get right: confusion, gains in recall, reliability, and a map of the test images (t-SNE)."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from PIL import Image
from scipy.special import log_softmax

from trigan.reports.figures import Axis, Dot, Figure, Frame, Part, Section, linear_axis, picture_address, render
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
from trigan.scores import CALIBRATION_BINS as BINS
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import shorten
from trigan.tables.paired_comparison import data_difference

#: Largest number of classes for a matrix with numbers; above it, each entry is a pixel.
MAX_NUMBERED = 20
#: Classes shown in gains; of more, those with the lowest and highest.
MAX_GAINS = 20
#: Lower limit of log-probabilities.
_LOG_ZERO = -30.0
#: Images on a map; maps of a column and of a page (at least one a column): a map takes seconds.
MAX_IMAGES, MAX_MAPS_PER_COLUMN, MAX_MAPS = 500, 4, 12


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


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """The log softmax of scores (N, K), at least -30."""
    finite = np.nan_to_num(scores, nan=_LOG_ZERO, neginf=-1e6, posinf=1e6)
    return np.asarray(np.maximum(log_softmax(finite, axis=1), _LOG_ZERO))


def bins(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number, mean confidence and accuracy (bins, 3) of the bins (lo, hi] of confidence that have any prediction."""
    probabilities = np.exp(log_probabilities(scores))
    confidence, right = probabilities.max(axis=1), scores.argmax(axis=1) == labels
    index = np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="left").clip(1, BINS)
    groups = [index == one for one in np.unique(index)]
    return np.array([(group.sum(), confidence[group].mean(), right[group].mean()) for group in groups])


def reliability(report: ReportData) -> Section:
    """Reliability diagrams, the predictions of all runs of a cell together."""
    parts = []
    for column in report.table.spec.columns:
        pooled = {row: (cell, _pooled(report, cell)) for row, cell in report.cells(column).items()}
        shown = [_diagram(row, cell, found) for row, (cell, found) in pooled.items() if len(found)]
        without = [row for row, (_, found) in pooled.items() if not len(found)]
        note = f"No probabilities, or the file is not here: {'; '.join(without)}." if without else ""
        parts.append(Part(report.subheading(column), panels=shown, note=note))
    return Section("reliability", "Reliability", render("reliability.html.j2", {"parts": parts, "bins": BINS}))


def _pooled(report: ReportData, cell: Cell) -> np.ndarray:
    """The bins of all runs that give probabilities (their records have an ``ece``) and have a predictions file."""
    paths = [report.file(record, PREDICTIONS) for record in cell.records if "ece" in record["result"]["test"]]
    found = [read_predictions(path) for path in paths if path is not None]
    if not found:
        return np.empty((0, 3))
    return bins(np.concatenate([scores for scores, _ in found]), np.concatenate([labels for _, labels in found]))


def _diagram(row: str, cell: Cell, found: np.ndarray) -> Figure:
    ticks = tuple((share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    frame = Frame(Axis(0, 1, ticks, "predicted probability"), Axis(0, 1, ticks, "accuracy"), 340, 300, right=24)
    total = found[:, 0].sum()
    dots = [
        Dot(
            frame.at(confidence, accuracy),
            2.5 + 10 * (count / total) ** 0.5,
            f"{count:.0f} images: predicted {confidence:.0%}, accuracy {accuracy:.0%}",
        )
        for count, confidence, accuracy in found.tolist()
    ]
    scores = [record["result"]["test"]["ece"] for record in cell.records if "ece" in record["result"]["test"]]
    ece = f"Expected calibration error {100 * fmean(scores):.1f}\u00a0% (mean over {len(scores)} runs)"
    low, high = (f"{confidence:.0%} with accuracy {accuracy:.0%}" for _, confidence, accuracy in found[[0, -1]])
    alt = f"Reliability of {row}: {ece}; lowest confidence {low}, highest confidence {high}"
    return Figure("reliability", {"frame": frame, "bins": dots}, alt, f"{ece}.", row)


def feature_map(report: ReportData) -> Section:
    """Maps of test images for the reference row, the best row and the rows of the primary comparisons."""
    parts = []
    for column in report.table.spec.columns:
        shown = [_cell_map(report, row, report.table.cells[row, column]) for row in _mapped(report, column)]
        if maps := [figure for figure in shown if figure is not None]:
            parts.append(Part(report.subheading(column), panels=maps))
    return Section("map", "Feature map", render("map.html.j2", {"parts": parts, "images": MAX_IMAGES}))


def _mapped(report: ReportData, column: str) -> list[str]:
    """The rows that get a map; the first row with a value if there is no other."""
    table, present = report.table, report.cells(column)
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

"""What the classifiers say of the test images: how sure and how right they are, and which images are alike to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from trigan.results.cell import Cell
from trigan.results.html import escape
from trigan.results.report.chart import COLOURS, Axis, Frame, chart, drawing, figure, label, number, panels
from trigan.results.report.material import (
    PREDICTIONS,
    Material,
    Section,
    by_column,
    class_names,
    read_predictions,
    typical,
    which,
)

#: As in `trigan.evaluation.calibration`, whose numbers the records have.
BINS = 15
#: Images on a map; maps of a column, and of a page as far as each column has one: a map takes seconds.
IMAGES, MAPS, MAPS_IN_ALL = 500, 4, 12
_SIDE, _EDGE = 400, 12
#: Log-probabilities below this are all alike: never.
_NEVER = -30.0


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence lies in one bin."""

    count: int
    confidence: float
    accuracy: float


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """log softmax of scores (N, K), cut off at -30."""
    high = np.nan_to_num(scores, nan=_NEVER, neginf=-1e6, posinf=1e6)
    high = high - high.max(axis=1, keepdims=True)
    return np.maximum(high - np.log(np.exp(high).sum(axis=1, keepdims=True)), _NEVER)


def bins(scores: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """The bins (lo, hi] of the top class's probability that have any prediction."""
    probabilities = np.exp(log_probabilities(scores))
    confidence, right = probabilities.max(axis=1), scores.argmax(axis=1) == labels
    index = np.searchsorted(np.linspace(0, 1, BINS + 1), confidence, side="left").clip(1, BINS) - 1
    groups = [np.flatnonzero(index == one) for one in range(BINS)]
    return [Bin(len(g), float(confidence[g].mean()), float(right[g].mean())) for g in groups if len(g)]


def reliability(material: Material) -> Section:
    """Reliability diagrams, the predictions of all runs of a cell together."""
    parts = {}
    for column in material.table.spec.columns:
        shown, silent = [], []
        for row, cell in material.cells(column):
            found = _pooled(material, cell)
            shown += [_diagram(row, cell, found)] if found else []
            silent += [] if found else [row]
        text = panels(shown) if shown else ""
        if silent:
            text += f"<p>No probabilities, or the file is not here: {escape('; '.join(silent))}.</p>"
        parts[column] = text
    words = (
        f"Test images in {BINS} bins by the probability of the predicted class, all runs of a row together; the "
        "larger a dot, the more images. On the dashed line a classifier is as often right as it says; below it, it is "
        "too sure."
    )
    return Section("reliability", "Reliability", f"<p>{words}</p>\n{by_column(material, parts)}")


def _pooled(material: Material, cell: Cell) -> list[Bin]:
    """The bins of all runs that give probabilities (their records have an ``ece``) and whose predictions are here."""
    paths = [material.file(record, PREDICTIONS) for record in cell.records if "ece" in record["result"]["test"]]
    found = [read_predictions(path) for path in paths if path is not None]
    if not found:
        return []
    return bins(np.concatenate([scores for scores, _ in found]), np.concatenate([labels for _, labels in found]))


def _diagram(row: str, cell: Cell, found: Sequence[Bin]) -> str:
    ticks = tuple((share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    frame = Frame(Axis(0, 1, ticks, "probability said"), Axis(0, 1, ticks, "share that was right"), 340, 300, right=24)
    (x0, y0), (x1, y1) = frame.at(0, 0), frame.at(1, 1)
    parts = [f'<path class="frame" stroke-dasharray="5 4" d="M{number(x0)} {number(y0)}L{number(x1)} {number(y1)}"/>']
    total = sum(one.count for one in found)
    points = [frame.at(one.confidence, one.accuracy) for one in found]
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    parts.append(f'<path class="c0" d="M{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>')
    for (x, y), one in zip(points, found, strict=True):
        told = f"{one.count} images: said {one.confidence:.0%}, right {one.accuracy:.0%}"
        radius = number(2.5 + 10 * (one.count / total) ** 0.5)
        place = f'cx="{number(x)}" cy="{number(y)}" r="{radius}"'
        parts.append(f'<circle class="c0 own" {place} opacity=".75"><title>{escape(told)}</title></circle>')
    scores = [record["result"]["test"]["ece"] for record in cell.records if "ece" in record["result"]["test"]]
    ece = f"Expected calibration error {100 * fmean(scores):.1f}\u00a0% (mean over {len(scores)} runs)"
    low, high = min(found, key=lambda b: b.confidence), max(found, key=lambda b: b.confidence)
    alt = f"Reliability of {row}: {ece}; least sure {low.confidence:.0%} and right {low.accuracy:.0%}, "
    alt += f"most sure {high.confidence:.0%} and right {high.accuracy:.0%}"
    return figure(chart(frame, parts, alt), f"{ece}.", row)


def maps(material: Material) -> Section:
    """Maps of the test images by what the classifiers say of them."""
    parts = {}
    for column in material.table.spec.columns:
        shown = []
        for row in _mapped(material, column):
            cell = material.table.cells[row, column]
            path = material.file(typical(cell), PREDICTIONS)
            if path is not None:
                shown.append(_map(which(material, row, cell), *read_predictions(path), class_names(cell.records[0])))
        if shown:
            parts[column] = panels(shown)
    words = (
        "t-SNE of the classifier's outputs (the logarithms of its class probabilities), not of its inner features, "
        f"which a run does not keep: test images (at most {IMAGES}, evenly chosen) that it judges alike lie "
        "together. A sign is the true class; a ring means that the image is taken for another one. Distances between "
        "groups and sizes of groups mean nothing. Drawn, as far as there is room: the reference row, the best row, and "
        "those of the primary comparisons, each by the run of the trial with the median score."
    )
    body = by_column(material, parts) if parts else "<p>No predictions are here.</p>"
    return Section("map", "Map of the outputs", f"<p>{words}</p>\n{body}")


def _mapped(material: Material, column: str) -> list[str]:
    """The rows that get a map: the reference, the best, and those of the primary comparisons, as far as they go."""
    table, there = material.table, dict(material.cells(column))
    wanted = [table.spec.reference, *(row for row, where in table.best if where == column)]
    wanted += [one.row for one in table.primary if one.column == column]
    wanted += list(there)[:1]
    most = min(MAPS, max(1, MAPS_IN_ALL // len(table.spec.columns)))
    return [row for row in dict.fromkeys(wanted) if row is not None and row in there][:most]


def embedding(scores: np.ndarray) -> np.ndarray:
    """t-SNE (N, 2) in [0, 1] of outputs (N, K): from the principal components, on one thread, so always the same."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    found = log_probabilities(scores)
    perplexity = min(30.0, (len(found) - 1) / 3)
    with threadpool_limits(limits=1):
        places = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(found)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-9)


def _map(run: str, scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> str:
    chosen = np.linspace(0, len(labels) - 1, min(IMAGES, len(labels))).round().astype(int)
    scores, labels = scores[chosen], labels[chosen]
    places, wrong = embedding(scores), scores.argmax(axis=1) != labels
    signs = _signs(names)
    parts = []
    for (across, up), true, missed in zip(places, labels, wrong, strict=True):
        x, y = (_EDGE + share * (_SIDE - 2 * _EDGE) for share in (across, 1 - up))
        parts.append(label(x, y + 3.5, signs[true], f"small own c{true % COLOURS}", "middle"))
        if missed:
            parts.append(f'<circle class="frame" cx="{number(x)}" cy="{number(y)}" r="7"/>')
    alt = f"Map of {len(labels)} test images by the outputs of {run}: {int(wrong.sum())} are taken for another class"
    legend = "" if signs == list(names) else " Signs: " + ", ".join(map(" ".join, zip(signs, names, strict=True))) + "."
    caption = f"{len(labels)} images, {int(wrong.sum())} of them taken for another class.{legend}"
    return figure(drawing(_SIDE, _SIDE, parts, alt), caption, run)


def _signs(names: Sequence[str]) -> list[str]:
    """One or two letters a class: its name where that is short, else its number."""
    return list(names) if all(len(name) <= 2 for name in names) else [str(index) for index in range(len(names))]

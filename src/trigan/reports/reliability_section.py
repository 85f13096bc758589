"""What the classifiers say of the test images: how sure and how right they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from trigan.reports.chart import Axis, Frame, chart, figure, number, panels
from trigan.reports.report_data import PREDICTIONS, ReportData, Section, by_column, read_predictions
from trigan.tables.cell import Cell
from trigan.tables.layout.html import escape

#: As in `trigan.evaluation.calibration`, whose numbers the records have.
BINS = 15
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


def reliability(report: ReportData) -> Section:
    """Reliability diagrams, the predictions of all runs of a cell together."""
    parts = {}
    for column in report.table.spec.columns:
        shown, silent = [], []
        for row, cell in report.cells(column):
            found = _pooled(report, cell)
            shown += [_diagram(row, cell, found)] if found else []
            silent += [] if found else [row]
        text = panels(shown) if shown else ""
        if silent:
            text += f"<p>No probabilities, or the file is not here: {escape('; '.join(silent))}.</p>"
        parts[column] = text
    words = (
        f"Test images in {BINS} bins by the probability of the predicted class, all runs of a row together; the "
        "larger a dot, the more images. On the dashed line confidence equals accuracy; below it the classifier "
        "is overconfident."
    )
    return Section("reliability", "Reliability", f"<p>{words}</p>\n{by_column(report, parts)}")


def _pooled(report: ReportData, cell: Cell) -> list[Bin]:
    """The bins of all runs that give probabilities (their records have an ``ece``) and whose predictions are here."""
    paths = [report.file(record, PREDICTIONS) for record in cell.records if "ece" in record["result"]["test"]]
    found = [read_predictions(path) for path in paths if path is not None]
    if not found:
        return []
    return bins(np.concatenate([scores for scores, _ in found]), np.concatenate([labels for _, labels in found]))


def _diagram(row: str, cell: Cell, found: Sequence[Bin]) -> str:
    ticks = tuple((share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    frame = Frame(Axis(0, 1, ticks, "predicted probability"), Axis(0, 1, ticks, "accuracy"), 340, 300, right=24)
    (x0, y0), (x1, y1) = frame.at(0, 0), frame.at(1, 1)
    parts = [f'<path class="frame" stroke-dasharray="5 4" d="M{number(x0)} {number(y0)}L{number(x1)} {number(y1)}"/>']
    total = sum(one.count for one in found)
    points = [frame.at(one.confidence, one.accuracy) for one in found]
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    parts.append(f'<path class="c0" d="M{path}" fill="none" stroke="currentColor" stroke-width="1.5"/>')
    for (x, y), one in zip(points, found, strict=True):
        told = f"{one.count} images: predicted {one.confidence:.0%}, accuracy {one.accuracy:.0%}"
        radius = number(2.5 + 10 * (one.count / total) ** 0.5)
        place = f'cx="{number(x)}" cy="{number(y)}" r="{radius}"'
        parts.append(f'<circle class="c0 own" {place} opacity=".75"><title>{escape(told)}</title></circle>')
    scores = [record["result"]["test"]["ece"] for record in cell.records if "ece" in record["result"]["test"]]
    ece = f"Expected calibration error {100 * fmean(scores):.1f}\u00a0% (mean over {len(scores)} runs)"
    low, high = min(found, key=lambda b: b.confidence), max(found, key=lambda b: b.confidence)
    alt = f"Reliability of {row}: {ece}; lowest confidence {low.confidence:.0%} with accuracy {low.accuracy:.0%}, "
    alt += f"highest confidence {high.confidence:.0%} with accuracy {high.accuracy:.0%}"
    return figure(chart(frame, parts, alt), f"{ece}.", row)

"""Reliability of the classifiers: confidence against accuracy on the test images."""

from statistics import fmean

import numpy as np

from trigan.reports.chart import Axis, Dot, Frame
from trigan.reports.figures import Figure, Part, Section, render
from trigan.reports.report_data import PREDICTIONS, ReportData, read_predictions
from trigan.tables.cell import Cell

#: As in `trigan.evaluation.calibration`, which computed the records' scores.
BINS = 15
#: Lower limit of log-probabilities.
_LOG_ZERO = -30.0


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """The log softmax of scores (N, K), at least -30."""
    finite = np.nan_to_num(scores, nan=_LOG_ZERO, neginf=-1e6, posinf=1e6)
    finite = finite - finite.max(axis=1, keepdims=True)
    return np.asarray(np.maximum(finite - np.log(np.exp(finite).sum(axis=1, keepdims=True)), _LOG_ZERO))


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
        pooled = {row: (cell, _pooled(report, cell)) for row, cell in report.cells(column)}
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

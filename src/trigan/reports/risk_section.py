"""The risk-coverage curve: the error among the images of which C is most confident."""

from collections.abc import Mapping
from statistics import fmean

import numpy as np

from trigan.reports.figures import Axis, Figure, Frame, Part, Section, Series, linear_axis, render
from trigan.reports.report_data import PREDICTIONS, ReportData, read_predictions
from trigan.scores import ordered_by_confidence, risk_by_coverage
from trigan.tables.cell import Cell

#: Shares of the images at which a curve is drawn.
COVERAGES = np.linspace(0.02, 1.0, 50)


def risk(report: ReportData) -> Section | None:
    """A chart for each column; None if no run with probabilities has its predictions here."""
    parts = []
    for column in report.table.spec.columns:
        curves = {
            row: curve for row, cell in report.cells(column).items() if (curve := _curve(report, cell)) is not None
        }
        if curves:
            parts.append(Part(report.subheading(column), figures=[_chart(curves)]))
    return Section("risk", "Risk and coverage", render("risk.html.j2", {"parts": parts})) if parts else None


def _curve(report: ReportData, cell: Cell) -> np.ndarray | None:
    """The mean error over runs at each of ``COVERAGES``; None without predictions."""
    paths = [report.file(record, PREDICTIONS) for record in cell.records if "ece" in record["result"]["test"]]
    curves = [risk_at(*read_predictions(path)) for path in paths if path is not None]
    return np.mean(curves, axis=0) if curves else None


def risk_at(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The error among the most confident images at each of ``COVERAGES``, at least one image."""
    risks = risk_by_coverage(ordered_by_confidence(scores, labels)[2])
    return np.asarray(risks[np.maximum(np.rint(COVERAGES * len(risks)).astype(int) - 1, 0)])


def _chart(curves: Mapping[str, np.ndarray]) -> Figure:
    ticks = tuple((share, f"{100 * share:.0f} %") for share in (0.25, 0.5, 0.75, 1.0))
    errors = [0.0, *(100 * float(curve.max()) for curve in curves.values())]
    frame = Frame(Axis(0.0, 1.0, ticks, "most confident images"), linear_axis(errors, "error among them, %"), 440, 280)
    points = {row: zip(COVERAGES.tolist(), (100 * curve).tolist(), strict=True) for row, curve in curves.items()}
    series = [Series([frame.at(share, error) for share, error in line]) for line in points.values()]
    texts = [f"{row} {100 * curve[24]:.1f} at half, {100 * curve[-1]:.1f} at all" for row, curve in curves.items()]
    areas = ", ".join(f"{row} {100 * fmean(curve.tolist()):.1f}" for row, curve in curves.items())
    alt = f"Error in % among the most confident images, {'; '.join(texts)}"
    key = [("line", index, row) for index, row in enumerate(curves)]
    return Figure(
        "chart", {"frame": frame, "series": series, "texts": ()}, alt, f"Mean error over coverages: {areas}.", key=key
    )

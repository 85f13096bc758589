"""The risk-coverage curve of the report."""

from pathlib import Path

import numpy as np
import pytest
from report_fixture import small_study

from trigan.reports.report_page import render_report
from trigan.reports.risk_section import COVERAGES, risk, risk_at


def test_the_curve_is_the_error_among_the_most_confident() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(500, 3)), rng.integers(3, size=500)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities.max(axis=1))
    wrong = (scores.argmax(axis=1) != labels)[order]
    expected = [wrong[: round(share * 500)].mean() for share in COVERAGES.tolist()]
    assert risk_at(scores, labels).tolist() == pytest.approx(expected)
    assert len(risk_at(scores[:3], labels[:3])) == len(COVERAGES)  # fewer images than points


def test_the_page_has_it_where_predictions_are(tmp_path: Path) -> None:
    material = small_study(tmp_path)
    page = render_report(material)
    assert 'id="risk"' in page
    assert "Error in % among the most confident images, bare" in page
    for cell in material.table.cells.values():
        for record in cell.records:
            (tmp_path / record["run"] / "predictions.npz").unlink()
    assert risk(material) is None

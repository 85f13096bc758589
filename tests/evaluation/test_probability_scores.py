"""Brier score, adaptive calibration error and risk-coverage curve by hand."""

import numpy as np
import pytest
import torch

from trigan.evaluation.classification import classification_metrics
from trigan.scores import CALIBRATION_BINS, adaptive_calibration_error, probability_scores, risk_by_coverage

RNG = np.random.default_rng(0)
LOGITS, LABELS = 2 * RNG.normal(size=(97, 4)), RNG.integers(4, size=97)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def test_scores_by_loops_over_images() -> None:
    found, p = probability_scores(LOGITS, LABELS), softmax(LOGITS)
    brier = [sum((p[i, k] - (LABELS[i] == k)) ** 2 for k in range(4)) for i in range(97)]
    assert found["brier"] == pytest.approx(sum(brier) / 97, rel=1e-12)
    order = sorted(range(97), key=lambda i: -p[i].max())
    wrong = [int(p[i].argmax() != LABELS[i]) for i in order]
    assert found["aurc"] == pytest.approx(sum(sum(wrong[:k]) / k for k in range(1, 98)) / 97, rel=1e-12)
    total, start = 0.0, 0
    for part in range(CALIBRATION_BINS):
        size = 7 if part < 97 - 6 * CALIBRATION_BINS else 6  # the first bins have one image more
        rows, start = order[start : start + size], start + size
        total += abs(sum(p[i].max() - (p[i].argmax() == LABELS[i]) for i in rows))
    assert found["adaptive_ece"] == pytest.approx(total / 97, rel=1e-9)
    given = classification_metrics(torch.from_numpy(LOGITS), torch.from_numpy(LABELS), 4, True)
    assert {name: given[name] for name in found} == found


def test_known_cases() -> None:
    sure = np.array([[60.0, 0.0], [0.0, 60.0]])
    assert probability_scores(sure, np.array([0, 1])) == pytest.approx({"adaptive_ece": 0, "brier": 0, "aurc": 0})
    assert probability_scores(sure, np.array([1, 0])) == pytest.approx({"adaptive_ece": 1, "brier": 2, "aurc": 1})
    assert risk_by_coverage(np.array([1.0, 0.0, 1.0, 1.0])).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    half = np.full(30, 0.5)
    assert adaptive_calibration_error(half, np.tile([1.0, 0.0], 15)) == pytest.approx(0.0)  # every bin is half right


def test_saturated_confidences_are_still_ranked() -> None:
    """Both probabilities are 1.0 in float64, and the wrong image is the less confident one."""
    logits = np.array([[400.0, 0.0], [300.0, 0.0]])
    assert probability_scores(logits, np.array([0, 1]))["aurc"] == pytest.approx(0.25)
    assert probability_scores(logits[::-1], np.array([1, 0]))["aurc"] == pytest.approx(0.25)

"""Losses on unlabelled images against closed forms in NumPy, and their gradients."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from trigan.losses.unlabelled_losses import (
    fairness_loss,
    flexmatch_thresholds,
    freematch_thresholds,
    kl_divergence,
    mixmatch_losses,
    sharpened,
    softmatch_weights,
    uda_loss,
    uniform_alignment,
    weighted_pseudo_labels,
)

SOURCE = torch.Generator().manual_seed(0)
WEAK, STRONG = (torch.randn(9, 4, generator=SOURCE, dtype=torch.float64) * 2 for _ in range(2))
Q, P = (softmax(logits.numpy(), axis=1) for logits in (WEAK, STRONG))
HALF = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def test_weighted_pseudo_labels_count_all_rows() -> None:
    weights = torch.linspace(0, 1, 9, dtype=torch.float64, requires_grad=True)
    loss = weighted_pseudo_labels(STRONG, WEAK.argmax(1), weights)
    expected = -(weights.detach().numpy() * np.log(P[np.arange(9), Q.argmax(1)])).sum() / 9
    assert loss.item() == pytest.approx(expected)
    assert not loss.requires_grad, "no gradient flows into weights"


def test_flexmatch_lowers_the_threshold_of_a_class_that_is_predicted_rarely() -> None:
    """beta / (2 - beta) tau; while most images have no prediction, their number is the denominator."""
    found = flexmatch_thresholds(torch.tensor([30.0, 10.0, 0.0]), 50, 0.95)
    assert found.tolist() == pytest.approx([0.95, 0.95 * (1 / 3) / (5 / 3), 0.0])
    early = flexmatch_thresholds(torch.tensor([10.0, 0.0, 0.0]), 50, 0.95)
    assert early.tolist() == pytest.approx([0.95 * 0.25 / 1.75, 0.0, 0.0])
    assert flexmatch_thresholds(torch.zeros(3), 50, 0.95).tolist() == [0.0, 0.0, 0.0]


def test_freematch_thresholds_are_the_averages_share_of_the_largest() -> None:
    found = freematch_thresholds(torch.tensor(0.8, dtype=torch.float64), HALF)
    assert found.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_the_fairness_loss() -> None:
    """Eq. 11, with a class that no selected strong view is predicted as: its ratio is 0."""
    histogram, strong_histogram = np.array([0.5, 0.25, 0.15, 0.1]), np.array([0.6, 0.2, 0.2, 0.0])
    strong_mean = torch.tensor([0.4, 0.2, 0.1, 0.05], dtype=torch.float64, requires_grad=True)
    loss = fairness_loss(HALF, torch.from_numpy(histogram), strong_mean, torch.from_numpy(strong_histogram))
    a = HALF.numpy() / histogram
    b = np.array([0.4 / 0.6, 1.0, 0.5, 0.0])
    expected = (a / a.sum() * np.log(b / b.sum() + 1e-12)).sum()
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert strong_mean.grad is not None
    assert strong_mean.grad.isfinite().all()
    assert float(strong_mean.grad.abs().sum()) > 0


def test_the_fairness_loss_without_a_selected_image_is_0_and_has_a_finite_gradient() -> None:
    strong_mean = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    loss = fairness_loss(HALF, HALF, strong_mean, torch.zeros(4, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0.0
    assert strong_mean.grad.tolist() == [0.0] * 4  # type: ignore[union-attr]


def test_uniform_alignment() -> None:
    found = uniform_alignment(torch.from_numpy(Q), HALF)
    expected = Q / (HALF.numpy() + 1e-6)
    np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True))


def test_softmatch_weights_are_a_truncated_gaussian() -> None:
    confidence = torch.tensor([0.9, 0.7, 0.5], dtype=torch.float64)
    mean, variance = (torch.tensor(value, dtype=torch.float64) for value in (0.7, 0.01))
    found = softmatch_weights(confidence, mean, variance, sigmas=2.0)
    assert found.tolist() == pytest.approx([1.0, 1.0, np.exp(-(0.2**2) / (2 * 0.01 / 4))])


def test_uda_has_sharpened_targets_for_confident_rows() -> None:
    threshold = float(np.median(Q.max(1)))
    targets = softmax(WEAK.numpy() / 0.4, axis=1)
    rows = (targets * (np.log(targets) - np.log(P))).sum(1)
    expected = rows[Q.max(1) > threshold].sum() / 9
    assert uda_loss(WEAK, STRONG, threshold, 0.4).item() == pytest.approx(expected)
    weak, strong = (logits.clone().requires_grad_() for logits in (WEAK, STRONG))
    uda_loss(weak, strong, threshold, 0.4).backward()
    assert weak.grad is None
    assert strong.grad is not None


def test_kl_divergence() -> None:
    np.testing.assert_allclose(kl_divergence(WEAK, STRONG), (Q * (np.log(Q) - np.log(P))).sum(1))
    assert kl_divergence(WEAK, WEAK).abs().max() < 1e-12


def test_sharpening_takes_a_power() -> None:
    np.testing.assert_allclose(sharpened(torch.from_numpy(Q), 0.5), Q**2 / (Q**2).sum(1, keepdims=True))
    one_hot = torch.tensor([[1.0, 0.0]])
    assert sharpened(one_hot, 0.5).tolist() == [[1.0, 0.0]]


def test_mixmatch_losses() -> None:
    targets, guesses = (torch.from_numpy(p) for p in (Q[::-1].copy(), Q))
    cross_entropy, squares = mixmatch_losses(STRONG, targets, STRONG, guesses)
    assert cross_entropy.item() == pytest.approx(-(Q[::-1] * np.log(P)).sum() / 9)
    assert squares.item() == pytest.approx(((P - Q) ** 2).sum() / (9 * 4))

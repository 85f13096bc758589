"""Losses on mixed, unlabelled and generated images against closed forms in NumPy, and their gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from trigan.losses.semi_supervised_losses import (
    conditional_entropy,
    fixmatch_loss,
    gated_label,
    pi_model_loss,
    sigmoid_ramp_up,
    uniform_marginal_loss,
)

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def test_conditional_entropy_is_the_mean_of_the_rows_entropies() -> None:
    p = softmax(LOGITS.numpy(), axis=1)
    assert conditional_entropy(LOGITS).item() == pytest.approx(-(p * np.log(p)).sum(1).mean())


def test_entropy_is_log_k_for_uniform_and_0_for_certain_predictions() -> None:
    assert conditional_entropy(torch.zeros(3, 8)).item() == pytest.approx(np.log(8))
    sure = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    entropy = conditional_entropy(sure)
    entropy.backward()
    assert entropy.item() == 0.0
    assert sure.grad.isfinite().all()


def test_descent_on_the_entropy_raises_the_largest_probability() -> None:
    logits = torch.tensor([[1.0, 0.5]], requires_grad=True)
    conditional_entropy(logits).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]


def test_the_uniform_marginal_loss_is_a_cross_entropy() -> None:
    mean = softmax(LOGITS.numpy(), axis=1).mean(0)
    found = uniform_marginal_loss(LOGITS.softmax(1).mean(0)).item()
    assert found == pytest.approx(-(np.full(4, 0.25) * np.log(mean)).sum())
    assert found > np.log(4)
    assert uniform_marginal_loss(torch.full((4,), 0.25)).item() == pytest.approx(np.log(4))


def test_certain_predictions_that_are_uniform_on_average_minimise_both() -> None:
    """Together the losses favour certain rows and the use of all classes."""
    even = torch.eye(4) * 50
    assert uniform_marginal_loss(even.softmax(1).mean(0)).item() == pytest.approx(np.log(4))
    assert conditional_entropy(even).item() == pytest.approx(0.0, abs=1e-9)
    one = torch.zeros(4, 4)
    one[:, 0] = 200.0
    collapsed = uniform_marginal_loss(one.softmax(1).mean(0))
    assert collapsed.isfinite()
    assert collapsed.item() > 10.0


ONE, OTHER = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_pi_model_loss_is_the_mean_squared_difference_of_probabilities() -> None:
    p, q = softmax(ONE.numpy(), axis=1), softmax(OTHER.numpy(), axis=1)
    assert pi_model_loss(ONE, OTHER).item() == pytest.approx(((p - q) ** 2).sum() / (5 * 3))


def test_the_pi_model_loss_compares_probabilities_not_logits() -> None:
    assert pi_model_loss(ONE, ONE + 3).item() == pytest.approx(0.0)
    assert pi_model_loss(ONE, 2 * ONE).item() > 1e-3
    assert pi_model_loss(ONE, OTHER).item() == pi_model_loss(OTHER, ONE).item()


def test_gradients_of_the_pi_model_loss_reach_both_views() -> None:
    one, other = ONE.clone().requires_grad_(), OTHER.clone().requires_grad_()
    pi_model_loss(one, other).backward()
    assert one.grad.abs().sum() > 0
    assert other.grad.abs().sum() > 0


def test_sigmoid_ramp_up() -> None:
    assert [sigmoid_ramp_up(t) for t in (0.0, 0.5, 1.0, 3.0)] == [math.exp(-5.0), math.exp(-1.25), 1.0, 1.0]


#: Probabilities of the most likely class: 0.5 (logits far above any threshold), 0.88, 0.99.
WEAK = torch.tensor([[9.0, 9.0], [2.0, 0.0], [0.0, 4.6]], dtype=torch.float64)
LIKELIEST = WEAK.argmax(1)
STRONG = torch.tensor([[1.0, 0.0], [0.3, 0.1], [2.0, 1.0]], dtype=torch.float64)


def cross_entropy(logits: torch.Tensor, labels: list[int]) -> np.ndarray:
    return -log_softmax(logits.numpy(), axis=1)[np.arange(len(labels)), labels]


def test_the_threshold_is_on_probabilities_and_the_mean_over_all_rows() -> None:
    losses = cross_entropy(WEAK, [0, 0, 1])
    assert gated_label(WEAK, LIKELIEST, 0.7).item() == pytest.approx(losses[1:].sum() / 3)
    assert gated_label(WEAK, LIKELIEST, 0.95).item() == pytest.approx(losses[2] / 3)
    assert gated_label(WEAK, LIKELIEST, 0.999).item() == 0
    assert gated_label(WEAK, LIKELIEST, 0.5).item() == pytest.approx(losses[1:].sum() / 3)  # strictly above


def test_only_rows_above_the_threshold_have_a_gradient() -> None:
    logits = WEAK.clone().requires_grad_()
    gated_label(logits, LIKELIEST, 0.7).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [False, True, True]
    assert logits.grad[1, 0] < 0 < logits.grad[1, 1]  # towards its own label


def test_the_threshold_for_a_given_label_is_on_its_probability() -> None:
    """The second label has probability .88, the third .01."""
    labels = torch.tensor([0, 0, 0])
    losses = cross_entropy(WEAK, [0, 0, 0])
    assert gated_label(WEAK, labels, 0.7).item() == pytest.approx(losses[1] / 3)
    assert gated_label(WEAK, labels, 0.005).item() == pytest.approx(losses.mean())
    assert gated_label(WEAK, labels, 0.9).item() == 0
    logits = WEAK.clone().requires_grad_()
    gated_label(logits, labels, 0.7).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [False, True, False]


def test_fixmatch_loss() -> None:
    losses = cross_entropy(STRONG, [0, 0, 1])
    assert fixmatch_loss(WEAK, STRONG, 0.8).item() == pytest.approx(losses[1:].sum() / 3)
    assert fixmatch_loss(WEAK, STRONG, 0.5).item() == pytest.approx(losses.mean())  # at the threshold too


def test_no_gradient_reaches_the_weak_view() -> None:
    weak, strong = WEAK.clone().requires_grad_(), STRONG.clone().requires_grad_()
    fixmatch_loss(weak, strong, 0.8).backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from trigan.losses import pseudo_label

#: Probabilities of the most likely class: 0.5 (logits far above any threshold), 0.88, 0.99.
LOGITS = torch.tensor([[9.0, 9.0], [2.0, 0.0], [0.0, 4.6]], dtype=torch.float64)
STRONG = torch.tensor([[1.0, 0.0], [0.3, 0.1], [2.0, 1.0]], dtype=torch.float64)


def cross_entropy(logits: torch.Tensor, labels: list[int]) -> np.ndarray:
    return -log_softmax(logits.numpy(), axis=1)[np.arange(len(labels)), labels]


def test_the_gate_is_on_probabilities_and_the_mean_over_all_rows() -> None:
    losses = cross_entropy(LOGITS, [0, 0, 1])
    assert pseudo_label.gated_pseudo_label(LOGITS, 0.7).item() == pytest.approx(losses[1:].sum() / 3)
    assert pseudo_label.gated_pseudo_label(LOGITS, 0.95).item() == pytest.approx(losses[2] / 3)
    assert pseudo_label.gated_pseudo_label(LOGITS, 0.999).item() == 0
    assert pseudo_label.gated_pseudo_label(LOGITS, 0.5).item() == pytest.approx(losses[1:].sum() / 3)  # strictly above


def test_only_rows_that_pass_the_gate_have_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    pseudo_label.gated_pseudo_label(logits, 0.7).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [False, True, True]
    assert logits.grad[1, 0] < 0 < logits.grad[1, 1]  # towards its own label


def test_the_gate_of_a_condition_is_on_the_probability_of_that_label() -> None:
    """Of the given labels C believes the second with .88 and the third with .01."""
    labels = torch.tensor([0, 0, 0])
    losses = cross_entropy(LOGITS, [0, 0, 0])
    assert pseudo_label.gated_label(LOGITS, labels, 0.7).item() == pytest.approx(losses[1] / 3)
    assert pseudo_label.gated_label(LOGITS, labels, 0.005).item() == pytest.approx(losses.mean())
    assert pseudo_label.gated_label(LOGITS, labels, 0.9).item() == 0
    logits = LOGITS.clone().requires_grad_()
    pseudo_label.gated_label(logits, labels, 0.7).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [False, True, False]


def test_where_the_label_is_the_likeliest_one_both_gates_are_one() -> None:
    likeliest = LOGITS.argmax(1)
    for threshold in (0.0, 0.7, 0.95):
        found = pseudo_label.gated_label(LOGITS, likeliest, threshold)
        torch.testing.assert_close(found, pseudo_label.gated_pseudo_label(LOGITS, threshold))


def test_consistency_is_fixmatchs_unlabelled_loss() -> None:
    losses = cross_entropy(STRONG, [0, 0, 1])
    assert pseudo_label.fixmatch_loss(LOGITS, STRONG, 0.8).item() == pytest.approx(losses[1:].sum() / 3)
    assert pseudo_label.fixmatch_loss(LOGITS, STRONG, 0.5).item() == pytest.approx(
        losses.mean()
    )  # at the threshold too


def test_no_gradient_reaches_the_weak_view() -> None:
    weak, strong = LOGITS.clone().requires_grad_(), STRONG.clone().requires_grad_()
    pseudo_label.fixmatch_loss(weak, strong, 0.8).backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0

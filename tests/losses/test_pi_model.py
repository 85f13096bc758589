import math

import pytest
import torch
from scipy.special import softmax

from trigan.losses.pi_model import pi_model_loss, sigmoid_ramp_up

ONE, OTHER = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_it_is_the_squared_distance_of_probabilities_by_classes_and_rows() -> None:
    p, q = softmax(ONE.numpy(), axis=1), softmax(OTHER.numpy(), axis=1)
    assert pi_model_loss(ONE, OTHER).item() == pytest.approx(((p - q) ** 2).sum() / (5 * 3))


def test_it_compares_probabilities_not_logits() -> None:
    assert pi_model_loss(ONE, ONE + 3).item() == pytest.approx(0.0)
    assert pi_model_loss(ONE, 2 * ONE).item() > 1e-3
    assert pi_model_loss(ONE, OTHER).item() == pi_model_loss(OTHER, ONE).item()


def test_gradients_reach_both_views() -> None:
    one, other = ONE.clone().requires_grad_(), OTHER.clone().requires_grad_()
    pi_model_loss(one, other).backward()
    assert one.grad.abs().sum() > 0
    assert other.grad.abs().sum() > 0


def test_the_weight_rises_from_next_to_nothing_to_one() -> None:
    assert [sigmoid_ramp_up(t) for t in (0.0, 0.5, 1.0, 3.0)] == [math.exp(-5.0), math.exp(-1.25), 1.0, 1.0]

import numpy as np
import pytest
import torch
from scipy.special import softmax

from trigan.losses import semi_supervised

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def with_generated() -> np.ndarray:
    """The K + 1 probabilities, the last one of "generated", whose logit is 0."""
    return softmax(np.c_[LOGITS.numpy(), np.zeros(6)], axis=1)


def test_k_plus_one_losses_are_those_of_a_softmax_with_one_more_class() -> None:
    p = with_generated()
    assert semi_supervised.k_plus_one_real(LOGITS).item() == pytest.approx(-0.5 * np.log(1 - p[:, -1]).mean())
    assert semi_supervised.k_plus_one_generated(LOGITS).item() == pytest.approx(-0.5 * np.log(p[:, -1]).mean())


def test_they_pull_the_logits_in_opposite_directions() -> None:
    logits = LOGITS.clone().requires_grad_()
    (real,) = torch.autograd.grad(semi_supervised.k_plus_one_real(logits), logits)
    (fake,) = torch.autograd.grad(semi_supervised.k_plus_one_generated(logits), logits)
    assert (real < 0).all()
    assert (fake > 0).all()


def test_they_stay_finite_at_extreme_logits() -> None:
    for value in (-500.0, 500.0):
        logits = torch.full((2, 3), value)
        assert semi_supervised.k_plus_one_real(logits).isfinite()
        assert semi_supervised.k_plus_one_generated(logits).isfinite()


def test_feature_matching_is_a_mean_of_squares_that_moves_the_fake_alone() -> None:
    real, fake = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([0.0, 5.0], requires_grad=True)
    loss = semi_supervised.feature_matching(real, fake)
    loss.backward()
    assert loss.item() == 5.0
    assert real.grad is None
    assert fake.grad.tolist() == [-1.0, 3.0]

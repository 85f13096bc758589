"""Each loss against its closed form in numpy, and what the papers say of its gradients."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor

from trigan.losses import adversarial

REAL = torch.tensor([2.0, -1.0, 0.3, 5.0], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.5, 1.5, -0.2], dtype=torch.float64)
R, F = REAL.numpy(), FAKE.numpy()

DISCRIMINATOR = {
    "minimax": -np.log(expit(R)).mean() - np.log(1 - expit(F)).mean(),
    "least_squares": ((R - 1) ** 2).mean() / 2 + (F**2).mean() / 2,
    "hinge": np.maximum(0, 1 - R).mean() + np.maximum(0, 1 + F).mean(),
    "wasserstein": F.mean() - R.mean(),
}
GENERATOR = {
    "minimax": np.log(1 - expit(F)).mean(),
    "non_saturating": -np.log(expit(F)).mean(),
    "least_squares": ((F - 1) ** 2).mean() / 2,
    "hinge": -F.mean(),
    "wasserstein": -F.mean(),
}


def slope(loss: object, logit: float) -> float:
    fake = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    loss(fake).backward()
    assert isinstance(fake.grad, Tensor)
    return fake.grad.item()


@pytest.mark.parametrize("name", DISCRIMINATOR)
def test_discriminator_losses(name: str) -> None:
    loss = getattr(adversarial, f"{name}_discriminator")(REAL, FAKE)
    assert loss.item() == pytest.approx(DISCRIMINATOR[name], rel=1e-12)


@pytest.mark.parametrize("name", GENERATOR)
def test_generator_losses(name: str) -> None:
    loss = getattr(adversarial, f"{name}_generator")(FAKE)
    assert loss.item() == pytest.approx(GENERATOR[name], rel=1e-12)


@pytest.mark.parametrize("name", GENERATOR)
def test_the_generator_wants_higher_logits(name: str) -> None:
    assert slope(getattr(adversarial, f"{name}_generator"), -0.7) < 0


@pytest.mark.parametrize("name", DISCRIMINATOR)
def test_the_discriminator_wants_real_above_fake(name: str) -> None:
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    getattr(adversarial, f"{name}_discriminator")(real[1:2], fake[1:2]).backward()
    assert real.grad[1] < 0 < fake.grad[1]


def test_only_the_minimax_generator_saturates() -> None:
    assert abs(slope(adversarial.minimax_generator, -20.0)) < 1e-8
    assert slope(adversarial.non_saturating_generator, -20.0) == pytest.approx(-1.0)
    # where D is undecided they agree
    assert slope(adversarial.minimax_generator, 0.0) == slope(adversarial.non_saturating_generator, 0.0) == -0.5


def test_losses_stay_finite_at_extreme_logits() -> None:
    extreme = torch.tensor([-200.0, 200.0])
    for name in GENERATOR:
        assert getattr(adversarial, f"{name}_generator")(extreme).isfinite()
    for name in DISCRIMINATOR:
        assert getattr(adversarial, f"{name}_discriminator")(extreme, extreme.flip(0)).isfinite()

"""Adversarial losses against their closed forms in NumPy, their gradients, settings and the gradient penalty."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor

from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.losses import gan_losses
from trigan.losses.regularizers import gradient_penalty

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


RELATIVISTIC = {
    "relativistic_average": lambda r, f: (
        (-np.log(expit(r - f.mean())).mean() - np.log(1 - expit(f - r.mean())).mean()) / 2
    ),
    "relativistic_hinge": lambda r, f: (
        np.maximum(0, 1 - (r - f.mean())).mean() / 2 + np.maximum(0, 1 + (f - r.mean())).mean() / 2
    ),
    "relativistic_paired": lambda r, f: -np.log(expit(r - f)).mean(),
}


@pytest.mark.parametrize("name", RELATIVISTIC)
def test_relativistic_losses_exchange_the_roles_of_real_and_fake_for_g(name: str) -> None:
    closed = RELATIVISTIC[name]
    discriminator = getattr(gan_losses, f"{name}_discriminator")(REAL, FAKE)
    generator = getattr(gan_losses, f"{name}_generator")(REAL, FAKE)
    assert discriminator.item() == pytest.approx(closed(R, F), rel=1e-12)
    assert generator.item() == pytest.approx(closed(F, R), rel=1e-12)
    assert getattr(gan_losses, name)().pairs


def slope(loss: object, logit: float) -> float:
    fake = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    loss(fake).backward()
    assert isinstance(fake.grad, Tensor)
    return fake.grad.item()


@pytest.mark.parametrize("name", DISCRIMINATOR)
def test_discriminator_losses(name: str) -> None:
    loss = getattr(gan_losses, f"{name}_discriminator")(REAL, FAKE)
    assert loss.item() == pytest.approx(DISCRIMINATOR[name], rel=1e-12)


@pytest.mark.parametrize("name", GENERATOR)
def test_generator_losses(name: str) -> None:
    loss = getattr(gan_losses, f"{name}_generator")(FAKE)
    assert loss.item() == pytest.approx(GENERATOR[name], rel=1e-12)


@pytest.mark.parametrize("name", GENERATOR)
def test_the_generator_loss_falls_with_the_logits(name: str) -> None:
    assert slope(getattr(gan_losses, f"{name}_generator"), -0.7) < 0


@pytest.mark.parametrize("name", DISCRIMINATOR)
def test_the_discriminator_loss_falls_with_real_and_rises_with_fake_logits(name: str) -> None:
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    getattr(gan_losses, f"{name}_discriminator")(real[1:2], fake[1:2]).backward()
    assert real.grad[1] < 0 < fake.grad[1]


def test_only_the_minimax_generator_saturates() -> None:
    assert abs(slope(gan_losses.minimax_generator, -20.0)) < 1e-8
    assert slope(gan_losses.non_saturating_generator, -20.0) == pytest.approx(-1.0)
    # at logit 0 they agree
    assert slope(gan_losses.minimax_generator, 0.0) == slope(gan_losses.non_saturating_generator, 0.0) == -0.5


def test_losses_stay_finite_at_extreme_logits() -> None:
    extreme = torch.tensor([-200.0, 200.0])
    for name in GENERATOR:
        assert getattr(gan_losses, f"{name}_generator")(extreme).isfinite()
    for name in DISCRIMINATOR:
        assert getattr(gan_losses, f"{name}_discriminator")(extreme, extreme.flip(0)).isfinite()


CHOICES = [
    gan_losses.minimax,
    gan_losses.non_saturating,
    gan_losses.least_squares,
    gan_losses.hinge,
    gan_losses.wasserstein,
    gan_losses.relativistic_average,
    gan_losses.relativistic_hinge,
    gan_losses.relativistic_paired,
]


def test_identities_differ() -> None:
    assert len({canonical_json(choice()) for choice in CHOICES}) == len(CHOICES)
    assert canonical_json(gan_losses.hinge(betas=[0.0, 0.9])) == canonical_json(gan_losses.hinge())
    assert "loss_term/hinge_generator@1" in canonical_json(gan_losses.hinge())


def test_minimax_and_non_saturating_differ_in_the_generator_alone() -> None:
    changed = dataclasses.replace(gan_losses.minimax(), generator_loss=gan_losses.non_saturating_generator)
    assert changed == gan_losses.non_saturating()
    assert changed != gan_losses.minimax()


def test_defaults_are_those_of_the_papers() -> None:
    assert (gan_losses.non_saturating().learning_rate, gan_losses.non_saturating().betas) == (2e-4, (0.5, 0.999))
    assert (gan_losses.hinge().learning_rate, gan_losses.hinge().betas, gan_losses.hinge().discriminator_steps) == (
        2e-4,
        (0.0, 0.9),
        5,
    )
    wgan = gan_losses.wasserstein()
    assert (wgan.gradient_penalty, wgan.discriminator_steps, wgan.learning_rate) == (10.0, 5, 1e-4)
    assert [choice().gradient_penalty for choice in CHOICES if choice is not gan_losses.wasserstein] == [0.0] * 7


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("gradient_penalty", -1.0),
        ("gradient_penalty", float("nan")),
        ("discriminator_steps", 0),
        ("learning_rate", 0.0),
        ("betas", (0.5, 1.0)),
        ("betas", (0.5,)),
    ],
)
def test_settings_out_of_range_are_named(setting: str, value: object) -> None:
    for choice in CHOICES:
        with pytest.raises(ConfigError, match=rf"loss\.{setting}: "):
            choice(**{setting: value})


torch.set_num_threads(1)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    weight = draw(2, 3, 3)
    expected = (weight.norm() - 1) ** 2
    eps = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: (x * weight).flatten(1).sum(1), draw(5, 2, 3, 3), draw(5, 2, 3, 3) + 1, eps)
    assert penalty.item() == pytest.approx(expected.item())


def test_the_penalty_is_taken_between_the_images_row_by_row() -> None:
    real, fake, eps = draw(4, 1, 2, 2), draw(4, 1, 2, 2) + 3, torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    # D(x) = |x|^2 / 2 has gradient x
    between = eps[:, None, None, None] * real + (1 - eps[:, None, None, None]) * fake
    expected = (between.flatten(1).norm(dim=1) - 1).square().mean()
    penalty = gradient_penalty(lambda x: x.flatten(1).square().sum(1) / 2, real, fake, eps[:, None, None, None])
    assert penalty.item() == pytest.approx(expected.item())


def test_the_penalty_trains_the_critic_and_nothing_else() -> None:
    weight = draw(1, 2, 2).requires_grad_()
    real, fake = draw(3, 1, 2, 2).requires_grad_(), draw(3, 1, 2, 2).requires_grad_()

    def critic(x: Tensor) -> Tensor:
        return (x * weight).flatten(1).sum(1).tanh()

    eps = torch.full((3, 1, 1, 1), 0.5, dtype=torch.float64)
    gradient_penalty(critic, real, fake, eps).backward()
    assert weight.grad.abs().sum() > 0
    assert real.grad is None
    assert fake.grad is None


def test_a_flat_critic_has_a_finite_gradient() -> None:
    weight = torch.zeros(1, 2, 2, requires_grad=True)
    x = torch.randn(3, 1, 2, 2)
    loss = gradient_penalty(lambda images: (images * weight).flatten(1).sum(1), x, -x, torch.rand(3, 1, 1, 1))
    loss.backward()
    assert loss.item() == 1.0
    assert weight.grad.isfinite().all()

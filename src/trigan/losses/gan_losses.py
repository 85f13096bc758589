"""Adversarial losses: what D and G minimise, and the optimizer settings that each paper pairs with them.

Notation: l_r = D(x) and l_f = D(G(z)) are logits of shape (N,), of real and of generated images; sigma is the logistic
function and softplus(t) = log(1 + exp(t)), so that -log sigma(l) = softplus(-l) and -log(1 - sigma(l)) = softplus(l).
E is the mean over the N rows; every loss is a scalar.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require, require_at_least
from trigan.component_ids import component

DiscriminatorLoss = Callable[[Tensor, Tensor], Tensor]
GeneratorLoss = Callable[[Tensor], Tensor]
Betas = tuple[float, float]
#: Adam's in Radford et al. 2015 (1511.06434).
DCGAN_BETAS = (0.5, 0.999)


@component("loss/adversarial@1")
@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of D and G, and the settings of their updates.

    Attributes:
        discriminator_loss: (real logits (N,), fake logits (N,)) -> scalar that D minimises.
        generator_loss: fake logits (N,) -> scalar that G minimises.
        gradient_penalty: weight of the gradient penalty in D's loss, >= 0; above 0, D must have no batch norm.
        discriminator_steps: D's updates per update of G, >= 1.
        learning_rate: Adam's, for D and G alike, > 0.
        betas: Adam's decay rates, each in [0, 1).
    """

    discriminator_loss: DiscriminatorLoss
    generator_loss: GeneratorLoss
    gradient_penalty: float = 0.0
    discriminator_steps: int = 1
    learning_rate: float = 2e-4
    betas: Betas = DCGAN_BETAS

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # a config gives a list
        penalty, rate, betas = self.gradient_penalty, self.learning_rate, list(self.betas)
        require(penalty >= 0, "loss.gradient_penalty", penalty, "0 (no penalty) or a positive weight")
        require_at_least("loss.discriminator_steps", self.discriminator_steps, 1)
        require(rate > 0, "loss.learning_rate", rate, "a number above 0, such as 2e-4")
        in_range = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
        require(in_range, "loss.betas", betas, "two numbers in [0, 1), such as [0.5, 0.999]")


@component("loss_term/minimax_discriminator@1")
def minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-l_r) + E softplus(l_f): Goodfellow et al. 2014 (1406.2661), eq. 1, negated; logits (N,)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@component("loss_term/minimax_generator@1")
def minimax_generator(fake: Tensor) -> Tensor:
    """-E softplus(l_f) = E log(1 - sigma(l_f)): 1406.2661, eq. 1, G's saturating loss; logits (N,)."""
    return -F.softplus(fake).mean()


@component("loss/minimax@1")
def minimax(
    gradient_penalty: float = 0.0, discriminator_steps: int = 1, learning_rate: float = 2e-4, betas: Betas = DCGAN_BETAS
) -> AdversarialLoss:
    """The saturating minimax losses (1406.2661); DCGAN's Adam."""
    losses = minimax_discriminator, minimax_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss_term/non_saturating_generator@1")
def non_saturating_generator(fake: Tensor) -> Tensor:
    """E softplus(-l_f) = -E log sigma(l_f): 1406.2661, section 3, beside D's minimax loss; logits (N,)."""
    return F.softplus(-fake).mean()


@component("loss/non_saturating@1")
def non_saturating(
    gradient_penalty: float = 0.0, discriminator_steps: int = 1, learning_rate: float = 2e-4, betas: Betas = DCGAN_BETAS
) -> AdversarialLoss:
    """Minimax for D, the non-saturating loss for G (1406.2661); DCGAN's Adam."""
    losses = minimax_discriminator, non_saturating_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss_term/least_squares_discriminator@1")
def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E (l_r - 1)^2 / 2 + E l_f^2 / 2: Mao et al. 2017 (1611.04076), eq. 9 (a = 0, b = 1); logits (N,)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


@component("loss_term/least_squares_generator@1")
def least_squares_generator(fake: Tensor) -> Tensor:
    """E (l_f - 1)^2 / 2: 1611.04076, eq. 9 (c = 1); logits (N,)."""
    return 0.5 * (fake - 1).square().mean()


@component("loss/least_squares@1")
def least_squares(
    gradient_penalty: float = 0.0, discriminator_steps: int = 1, learning_rate: float = 2e-4, betas: Betas = DCGAN_BETAS
) -> AdversarialLoss:
    """LSGAN (1611.04076); DCGAN's Adam."""
    losses = least_squares_discriminator, least_squares_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss_term/hinge_discriminator@1")
def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - l_r) + E max(0, 1 + l_f): Miyato et al. 2018 (1802.05957), eq. 16, negated; logits (N,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


@component("loss_term/hinge_generator@1")
def hinge_generator(fake: Tensor) -> Tensor:
    """-E l_f: 1802.05957, eq. 17; logits (N,)."""
    return -fake.mean()


@component("loss/hinge@1")
def hinge(
    gradient_penalty: float = 0.0, discriminator_steps: int = 5, learning_rate: float = 2e-4, betas: Betas = (0.0, 0.9)
) -> AdversarialLoss:
    """The hinge losses with the settings of SNGAN (1802.05957)."""
    losses = hinge_discriminator, hinge_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss_term/wasserstein_discriminator@1")
def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E l_f - E l_r: Arjovsky et al. 2017 (1701.07875), eq. 3, negated, without the penalty; logits (N,)."""
    return fake.mean() - real.mean()


@component("loss_term/wasserstein_generator@1")
def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E l_f: 1701.07875, algorithm 1; logits (N,)."""
    return -fake.mean()


@component("loss/wasserstein@1")
def wasserstein(
    gradient_penalty: float = 10.0, discriminator_steps: int = 5, learning_rate: float = 1e-4, betas: Betas = (0.0, 0.9)
) -> AdversarialLoss:
    """The Wasserstein losses with gradient penalty and the settings of WGAN-GP (1704.00028, algorithm 1)."""
    losses = wasserstein_discriminator, wasserstein_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
    """E (||grad D(x_hat)||_2 - 1)^2 at x_hat = eps x_r + (1 - eps) x_f: Gulrajani et al. 2017 (1704.00028), eq. 3.

    Args:
        critic: images (N, C, S, S) -> logits (N,), each row's logit a function of that row alone (no batch norm).
        real: images (N, C, S, S); no gradient flows into them.
        fake: images (N, C, S, S); no gradient flows into them.
        eps: uniform random numbers in [0, 1), (N, 1, 1, 1).

    Returns:
        The mean over rows, differentiable in the critic's weights.
    """
    mixed = torch.lerp(fake.detach(), real.detach(), eps).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(2, dim=1)
    return (norms - 1).square().mean()

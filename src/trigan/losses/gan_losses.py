"""Adversarial losses: what D and G minimise, and the optimizer settings that each paper pairs with them.

Notation: l_r = D(x) and l_f = D(G(z)) are logits of shape (N,), of real and of generated images; sigma is the logistic
function and softplus(t) = log(1 + exp(t)), so that -log sigma(l) = softplus(-l) and -log(1 - sigma(l)) = softplus(l).
E is the mean over the N rows; every loss is a scalar.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require, require_at_least
from trigan.component_ids import component

DiscriminatorLoss = Callable[[Tensor, Tensor], Tensor]
GeneratorLoss = Callable[..., Tensor]
#: Further terms of D's and G's losses by name (`trigan.training.stages.gan_regularizers`).
Regularizers = Mapping[str, Any]
NONE: Regularizers = MappingProxyType({})
Betas = tuple[float, float]
#: Adam's in Radford et al. 2015 (1511.06434).
DCGAN_BETAS = (0.5, 0.999)


@component("loss/adversarial@1")
@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of D and G, and the settings of their updates.

    Attributes:
        discriminator_loss: (real logits (N,), fake logits (N,)) -> scalar that D minimises.
        generator_loss: fake logits (N,) -> scalar that G minimises; with ``pairs`` (real, fake logits) -> scalar.
        gradient_penalty: weight of the gradient penalty in D's loss, >= 0; above 0, D must have no batch norm.
        discriminator_steps: D's updates per update of G, >= 1.
        learning_rate: Adam's, for D and G alike, > 0.
        betas: Adam's decay rates, each in [0, 1).
        regularizers: further terms by name (``loss.regularizers=[r1,r2]``), in the order of their names.
        pairs: whether the losses compare row i of the real with row i of the fake logits, or with their mean: the
            logits are then those of all ranks, G's loss takes the real ones too, and a conditional G gets the labels of
            the real images.
    """

    discriminator_loss: DiscriminatorLoss
    generator_loss: GeneratorLoss
    gradient_penalty: float = 0.0
    discriminator_steps: int = 1
    learning_rate: float = 2e-4
    betas: Betas = DCGAN_BETAS
    regularizers: Regularizers = field(default_factory=dict)
    pairs: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "regularizers", dict(sorted(self.regularizers.items())))
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
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = DCGAN_BETAS,
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """The saturating minimax losses (1406.2661); DCGAN's Adam."""
    losses = minimax_discriminator, minimax_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers)


@component("loss_term/non_saturating_generator@1")
def non_saturating_generator(fake: Tensor) -> Tensor:
    """E softplus(-l_f) = -E log sigma(l_f): 1406.2661, section 3, beside D's minimax loss; logits (N,)."""
    return F.softplus(-fake).mean()


@component("loss/non_saturating@1")
def non_saturating(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = DCGAN_BETAS,
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """Minimax for D, the non-saturating loss for G (1406.2661); DCGAN's Adam."""
    losses = minimax_discriminator, non_saturating_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers)


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
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = DCGAN_BETAS,
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """LSGAN (1611.04076); DCGAN's Adam."""
    losses = least_squares_discriminator, least_squares_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers)


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
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 5,
    learning_rate: float = 2e-4,
    betas: Betas = (0.0, 0.9),
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """The hinge losses with the settings of SNGAN (1802.05957)."""
    losses = hinge_discriminator, hinge_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers)


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
    gradient_penalty: float = 10.0,
    discriminator_steps: int = 5,
    learning_rate: float = 1e-4,
    betas: Betas = (0.0, 0.9),
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """The Wasserstein losses with gradient penalty and the settings of WGAN-GP (1704.00028, algorithm 1)."""
    losses = wasserstein_discriminator, wasserstein_generator
    return AdversarialLoss(*losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers)


@component("loss_term/relativistic_average_discriminator@1")
def relativistic_average_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(E softplus(-(l_r - E l_f)) + E softplus(l_f - E l_r)) / 2: 1807.00734, halved as in the author's code.

    Jolicoeur-Martineau 2018, RaSGAN; logits (N,) of the whole batch.
    """
    return 0.5 * (F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean())


@component("loss_term/relativistic_average_generator@1")
def relativistic_average_generator(real: Tensor, fake: Tensor) -> Tensor:
    """D's loss, the roles of real and fake exchanged: 1807.00734, halved; logits (N,) of the whole batch."""
    return relativistic_average_discriminator(fake, real)


@component("loss/relativistic_average@1")
def relativistic_average(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = DCGAN_BETAS,
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """RaSGAN (1807.00734); DCGAN's Adam."""
    losses = relativistic_average_discriminator, relativistic_average_generator
    return AdversarialLoss(
        *losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers, pairs=True
    )


@component("loss_term/relativistic_hinge_discriminator@1")
def relativistic_hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """(E max(0, 1 - (l_r - E l_f)) + E max(0, 1 + l_f - E l_r)) / 2: RaHingeGAN, 1807.00734.

    Halved as in the author's code. Logits (N,) of the whole batch.
    """
    return 0.5 * (F.relu(1 - real + fake.mean()).mean() + F.relu(1 + fake - real.mean()).mean())


@component("loss_term/relativistic_hinge_generator@1")
def relativistic_hinge_generator(real: Tensor, fake: Tensor) -> Tensor:
    """D's loss with the roles of real and fake exchanged: 1807.00734; logits (N,) of the whole batch."""
    return relativistic_hinge_discriminator(fake, real)


@component("loss/relativistic_hinge@1")
def relativistic_hinge(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = DCGAN_BETAS,
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """RaHingeGAN (1807.00734); DCGAN's Adam."""
    losses = relativistic_hinge_discriminator, relativistic_hinge_generator
    return AdversarialLoss(
        *losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers, pairs=True
    )


@component("loss_term/relativistic_paired_discriminator@1")
def relativistic_paired_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(l_r - l_f)), row i of the real with row i of the fake logits (N,): Huang et al. 2024, eq. 2 (R3GAN).

    2501.05441; after RpGAN in 1807.00734, with the sign of the authors' code.
    """
    return F.softplus(fake - real).mean()


@component("loss_term/relativistic_paired_generator@1")
def relativistic_paired_generator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(l_f - l_r)): 2501.05441, eq. 2, the non-saturating form of the authors' code; logits (N,)."""
    return F.softplus(real - fake).mean()


@component("loss/relativistic_paired@1")
def relativistic_paired(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: Betas = (0.0, 0.99),
    regularizers: Regularizers = NONE,
) -> AdversarialLoss:
    """The losses of R3GAN (2501.05441), which the paper trains with R1 and R2.

    Adam's betas are those at the end of the authors' code, whose second one rises from .9 to .99.
    """
    losses = relativistic_paired_discriminator, relativistic_paired_generator
    return AdversarialLoss(
        *losses, gradient_penalty, discriminator_steps, learning_rate, betas, regularizers, pairs=True
    )

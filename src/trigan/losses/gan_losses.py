"""The adversarial games that a config can name: a pair of losses with the optimiser settings that belong to them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from trigan.components import component
from trigan.errors import ConfigError
from trigan.losses import adversarial

DiscriminatorLoss = Callable[[Tensor, Tensor], Tensor]
GeneratorLoss = Callable[[Tensor], Tensor]


@component("loss/adversarial@1")
@dataclass(frozen=True)
class AdversarialLoss:
    """A game between D and G.

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
    betas: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))  # a config gives a list
        if not self.gradient_penalty >= 0:
            raise ConfigError(
                f"loss.gradient_penalty={self.gradient_penalty}: give 0 (no penalty) or a positive weight"
            )
        if self.discriminator_steps < 1:
            raise ConfigError(f"loss.discriminator_steps={self.discriminator_steps}: give an integer of at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"loss.learning_rate={self.learning_rate}: give a number above 0, such as 2e-4")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"loss.betas={list(self.betas)}: give two numbers in [0, 1), such as [0.5, 0.999]")


@component("loss/minimax@1")
def minimax(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> AdversarialLoss:
    """The saturating game as first written (1406.2661); DCGAN's Adam."""
    pair = adversarial.minimax_discriminator, adversarial.minimax_generator
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss/non_saturating@1")
def non_saturating(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> AdversarialLoss:
    """Minimax for D, the non-saturating heuristic for G (1406.2661); DCGAN's Adam."""
    pair = adversarial.minimax_discriminator, adversarial.non_saturating_generator
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss/least_squares@1")
def least_squares(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> AdversarialLoss:
    """LSGAN (1611.04076); DCGAN's Adam."""
    pair = adversarial.least_squares_discriminator, adversarial.least_squares_generator
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss/hinge@1")
def hinge(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 5,
    learning_rate: float = 2e-4,
    betas: tuple[float, float] = (0.0, 0.9),
) -> AdversarialLoss:
    """The hinge game with the settings of SNGAN (1802.05957)."""
    pair = adversarial.hinge_discriminator, adversarial.hinge_generator
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)


@component("loss/wasserstein@1")
def wasserstein(
    gradient_penalty: float = 10.0,
    discriminator_steps: int = 5,
    learning_rate: float = 1e-4,
    betas: tuple[float, float] = (0.0, 0.9),
) -> AdversarialLoss:
    """The Wasserstein game with gradient penalty and the settings of WGAN-GP (1704.00028, algorithm 1)."""
    pair = adversarial.wasserstein_discriminator, adversarial.wasserstein_generator
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)

"""What every joint game has in common: who plays, how images are shown, and when late terms come in."""

from dataclasses import dataclass
from typing import Protocol

from trigan.components import component
from trigan.data.augmentation import Augmentation
from trigan.data.mixing import Mix
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.gans.gan import Architecture
from trigan.training.players import Objective
from trigan.training.range_checks import require


@dataclass(frozen=True)
class ObjectiveContext:
    """What a game is played with: ``augmentation`` for labelled images, ``discriminator_augmentation`` for all that D judges, batch sizes.

    ``conditional``: G draws for labels. ``mix``, where there is one, mixes labelled images in C's loss on them.
    """

    loss: AdversarialLoss
    augmentation: Augmentation
    discriminator_augmentation: Augmentation
    batch: int
    conditional: bool
    mix: Mix | None = None


class ObjectiveFactory(Protocol):
    """A frozen dataclass of a game's own weights and thresholds."""

    @property
    def players(self) -> tuple[str, ...]:
        """The players that move, of generator, discriminator, classifier."""
        ...

    @property
    def two_heads(self) -> bool:
        """Whether C is played by :class:`trigan.networks.classifiers.two_heads.TwoHeads`, and so is also D."""
        ...

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        """Refuse an architecture or a loss that the game can't be played with (ConfigError)."""
        ...

    def build(self, context: ObjectiveContext) -> Objective:
        """The objective for one fit."""
        ...


@component("schedule/ramp@1")
@dataclass(frozen=True)
class Ramp:
    """A term's weight over a fit: 0 until ``start``, then linearly to 1 over ``length`` (both shares of the fit)."""

    start: float = 0.3
    length: float = 0.2

    def __post_init__(self) -> None:
        require(0.0 <= self.start <= 1.0, "start", self.start, "in [0, 1]")
        require(0.0 <= self.length <= 1.0, "length", self.length, "in [0, 1]")

    def __call__(self, progress: float) -> float:
        """The factor at ``progress`` in [0, 1)."""
        if progress < self.start:
            return 0.0
        return min(1.0, (progress - self.start) / self.length) if self.length > 0.0 else 1.0


def require_conditional(architecture: Architecture, wanted: bool, objective: str) -> None:
    """Raise a ConfigError unless the architecture is label-conditional, or not, as the objective needs."""
    if architecture.conditional != wanted:
        need = (
            "a label-conditional G and D: set architecture=cgan"
            if wanted
            else "an unconditional G: set architecture=dcgan"
        )
        raise ConfigError(f"strategy.objective={objective} needs {need}")

"""What all joint objectives share: their context, their base class, and the ramp of terms that start late."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.gans.gan import Architecture
from trigan.training.players import Update
from trigan.training.stages.labelled_loss import LabelledLoss
from trigan.training.step import Batch, TrainingStep


@dataclass(frozen=True)
class ObjectiveContext:
    """The stage's settings that an objective uses; ``conditional``: whether G takes labels.

    ``supervised`` is C's loss on labelled images, ``discriminator_augmentation`` is for all images, real or generated,
    in the adversarial loss.
    """

    loss: AdversarialLoss
    supervised: LabelledLoss
    discriminator_augmentation: Augmentation
    batch: int
    conditional: bool

    def labelled_loss(self, step: TrainingStep) -> Tensor:
        """C's supervised loss, shape ()."""
        return self.supervised(step, step.network("classifier"))

    def discriminator_view(self, batch: Batch) -> Tensor:
        """The images of a batch after ``discriminator_augmentation``, with their autograd graph."""
        return batch.augmented(self.discriminator_augmentation, "view")


class ObjectiveFactory(ABC):
    """Base of the joint objectives: frozen dataclasses of weights and thresholds, with each player's loss.

    Attributes:
        name: the setting ``strategy.objective``, for error messages.
        players: the players that are trained.
        two_heads: whether C also has a real-or-generated head, so that C is also D.
        conditional: True if G must take labels, False if it must not, None if both are possible.
        penalty: whether the adversarial loss may have a gradient penalty.
        pairs: whether the adversarial loss may compare real with generated images in G's loss.
    """

    name: ClassVar[str]
    players: ClassVar[tuple[str, ...]] = ("classifier", "generator")
    two_heads: ClassVar[bool] = False
    conditional: ClassVar[bool | None] = None
    penalty: ClassVar[bool] = False
    pairs: ClassVar[bool] = False

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        """Raise a ConfigError for an architecture or a loss that the objective cannot use."""
        if self.conditional is not None and architecture.conditional != self.conditional:
            need = "a label-conditional G and D: set architecture=cgan or projection"
            need = need if self.conditional else "an unconditional G: set architecture=dcgan or sngan"
            raise ConfigError(f"strategy.objective={self.name} needs {need}")
        self._check_loss(loss)
        if loss.regularizers:
            raise ConfigError(
                f"loss.regularizers: strategy.objective={self.name} has none; set loss.regularizers=none (they are for "
                "strategy=augment and features)"
            )
        if loss.pairs and not self.pairs:
            raise ConfigError(
                f"loss: strategy.objective={self.name} takes logits of single images, and this loss compares pairs; "
                "take another loss, such as non_saturating or hinge"
            )
        if loss.gradient_penalty > 0.0 and not self.penalty:
            raise ConfigError(
                f"loss: strategy.objective={self.name} has no gradient penalty; take another loss, such as "
                "non_saturating or hinge"
            )

    def _check_loss(self, loss: AdversarialLoss) -> None:
        return

    @abstractmethod
    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """The players' updates, in their order within a step."""

    def phase(self, progress: float) -> Hashable:
        """See `trigan.training.players.PlayersModule`."""
        return None


@component("schedule/ramp@1")
@dataclass(frozen=True)
class Ramp:
    """Factor on a term: 0 until ``start``, then linearly to 1 over ``length``, both as shares of the fit."""

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

"""K+1 semi-supervised learning with feature matching (Salimans et al. 2016, arXiv 1606.03498, sections 3.1 and 5)."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.errors import ConfigError
from trigan.losses.adversarial import minimax_discriminator
from trigan.losses.games import AdversarialLoss
from trigan.losses.semi_supervised import feature_matching, generated, real_unlabelled
from trigan.modules import world
from trigan.modules.checks import require
from trigan.modules.classifier import labelled_loss
from trigan.modules.objectives.game import Table, require_conditional
from trigan.modules.players import Objective, Update
from trigan.modules.step import Step
from trigan.networks.adversaries import Architecture
from trigan.networks.batchnorm import frozen_statistics


@dataclass(frozen=True)
class FeatureMatching:
    """C is also D: an image is real with probability Z / (Z + 1), Z = sum of exp of its K logits.

    C learns the labels, and to tell unlabelled from generated images (weight ``unlabelled_weight``); G matches the mean
    of C's penultimate features over unlabelled images.
    """

    unlabelled_weight: float = 1.0

    players = ("classifier", "generator")
    two_heads = False

    def __post_init__(self) -> None:
        require(self.unlabelled_weight >= 0.0, "unlabelled_weight", self.unlabelled_weight, "at least 0")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, False, "feature_matching")
        require_no_loss(loss, "feature_matching", "K+1 classes, feature matching")

    def start(self, table: Table) -> Objective:
        return _Play(table, KPlusOne(table, self.unlabelled_weight))


def require_no_loss(loss: AdversarialLoss, objective: str, own: str) -> None:
    """Raise a ConfigError for a choice of loss that a game with losses of its ``own`` would ignore."""
    if loss.discriminator_loss is not minimax_discriminator or loss.gradient_penalty > 0.0:
        raise ConfigError(
            f"loss: strategy.objective={objective} has losses of its own ({own}); leave loss=non_saturating"
        )
    if loss.discriminator_steps != 1:
        raise ConfigError(
            f"loss.discriminator_steps: {loss.discriminator_steps} must be 1 with strategy.objective={objective}, "
            "where C and G both move in every step"
        )


@dataclass(frozen=True)
class KPlusOne:
    """What the games with K + 1 classes share: C's loss, and what G sees of C."""

    table: Table
    unlabelled_weight: float

    def classifier_loss(self, step: Step) -> tuple[Tensor, Tensor]:
        """C's loss, shape (), and its logits of the unlabelled images, (N, K)."""
        network, unlabelled, fakes = step.network("classifier"), step.batch("unlabelled"), step.fakes()
        view = self.table.view
        loss = labelled_loss(step, network, self.table.augmentation, mix=self.table.mix)
        logits = network(view(unlabelled.images, unlabelled.draws, "view"))
        real = real_unlabelled(logits)
        with frozen_statistics(network):
            fake = generated(network(view(fakes.images.detach(), fakes.draws, "view")))
        step.note("train/real_loss", real)
        step.note("train/fake_loss", fake)
        return loss + self.unlabelled_weight * (real + fake), logits

    def embedded(self, step: Step) -> tuple[Tensor, Tensor]:
        """What G's side sees: C's mean embedding of unlabelled images, (F,), a constant, and that of G's, (N, F)."""
        network, unlabelled, fakes = step.network("classifier"), step.batch("unlabelled"), step.fakes()
        view = self.table.view
        with frozen_statistics(network):
            with torch.no_grad():
                wanted = network.embed(view(unlabelled.images, unlabelled.draws, "view")).mean(0)
            return wanted, network.embed(view(fakes.images, fakes.draws, "view"))


@dataclass(frozen=True)
class _Play:
    table: Table
    base: KPlusOne

    def updates(self) -> tuple[Update, ...]:
        batch = self.table.batch
        return (
            Update("classifier", self.classifier_loss, images=3 * batch),
            Update("generator", self.generator_loss, images=2 * batch),
        )

    def phase(self, progress: float) -> Hashable:
        return None

    def classifier_loss(self, step: Step) -> Tensor:
        loss, _ = self.base.classifier_loss(step)
        step.note("train/classifier_loss", loss)
        return loss

    def generator_loss(self, step: Step) -> Tensor:
        wanted, given = self.base.embedded(step)
        loss = feature_matching(world.global_mean(wanted), world.global_mean(given.mean(0)))
        step.note("train/generator_loss", loss)
        return loss

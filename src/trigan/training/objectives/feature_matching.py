"""K+1 semi-supervised learning with feature matching (Salimans et al. 2016, arXiv 1606.03498, sections 3.1 and 5)."""

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from trigan.components import component
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.semi_supervised import feature_matching
from trigan.networks.gans.gan import Architecture
from trigan.training import distributed
from trigan.training.objectives.k_plus_one import KPlusOne, require_default_loss
from trigan.training.objectives.objective import ObjectiveContext, require_conditional
from trigan.training.players import Objective, Update
from trigan.training.range_checks import require
from trigan.training.step import TrainingStep


@component("objective/feature_matching@1")
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
        require_default_loss(loss, "feature_matching", "K+1 classes, feature matching")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(context, KPlusOne(context, self.unlabelled_weight))


@dataclass(frozen=True)
class _Play:
    context: ObjectiveContext
    base: KPlusOne

    def updates(self) -> tuple[Update, ...]:
        batch = self.context.batch
        return (
            Update("classifier", self.classifier_loss, images=3 * batch),
            Update("generator", self.generator_loss, images=2 * batch),
        )

    def phase(self, progress: float) -> Hashable:
        return None

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        loss, _ = self.base.classifier_loss(step)
        step.log("train/classifier_loss", loss)
        return loss

    def generator_loss(self, step: TrainingStep) -> Tensor:
        wanted, given = self.base.embeddings(step)
        loss = feature_matching(distributed.global_mean(wanted), distributed.global_mean(given.mean(0)))
        step.log("train/generator_loss", loss)
        return loss

"""Three players on pairs (image, label): Triple-GAN's base form (Li et al. 2017, arXiv 1703.02291, algorithm 1)."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from trigan.components import component
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.triple_gan_losses import pair_discriminator
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.objective import ObjectiveContext, Ramp, require_conditional
from trigan.training.objectives.pair_losses import (
    AdversarialLabels,
    PairLosses,
    require_adversarial_labels,
    require_logits,
)
from trigan.training.players import Objective, Update
from trigan.training.range_checks import require
from trigan.training.stages.classifier_stage import labelled_loss
from trigan.training.step import TrainingStep


@component("objective/conditional@1")
@dataclass(frozen=True)
class Conditional:
    """C labels unlabelled images, G draws images for labels, D tells labelled pairs from both.

    ``alpha`` divides D's attention between C's pairs and G's (1/2 in the official code); ``pair_weight`` is that of C's
    cross-entropy on G's pairs (R_P), which comes in by ``ramp``. C's counted images include G's from the first step on.
    ``adversarial_labels``: C is paid by D for ``all`` its labels of an unlabelled image, each by its probability, or for the
    ``argmax``, which without a further term only makes it unsure.
    """

    alpha: float = 0.5
    pair_weight: float = 0.1
    ramp: Ramp = field(default_factory=Ramp)
    adversarial_labels: AdversarialLabels = "all"

    players = ("discriminator", "generator", "classifier")
    two_heads = False

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < 1.0, "alpha", self.alpha, "in (0, 1)")
        require(self.pair_weight >= 0.0, "pair_weight", self.pair_weight, "at least 0")
        require_adversarial_labels(self.adversarial_labels)

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, True, "conditional")
        require_logits(loss, "conditional")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(self, context, PairLosses(context, self.alpha))


@dataclass(frozen=True)
class _Play:
    game: Conditional
    context: ObjectiveContext
    pairs: PairLosses

    def updates(self) -> tuple[Update, ...]:
        return self.pairs.updates(self.discriminator_loss, self.classifier_loss)

    def phase(self, progress: float) -> Hashable:
        return self.game.ramp(progress) > 0.0

    def discriminator_loss(self, step: TrainingStep) -> Tensor:
        """Labelled pairs against alpha of C's pairs and 1 - alpha of G's."""
        judged = self.pairs.pair_logits(step)
        loss = pair_discriminator(self.context.loss.discriminator_loss, *judged, self.game.alpha)
        step.log("train/discriminator_loss", loss)
        return loss

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        """Cross-entropy on L, the adversarial loss on U, and R_P on G's pairs."""
        network = step.network("classifier")
        loss = labelled_loss(step, network, self.context.augmentation, mix=self.context.mix)
        logits = network(step.batch("unlabelled").images)
        loss = loss + self.pairs.adversarial_loss(step, logits, self.game.alpha, self.game.adversarial_labels)
        weight = self.game.pair_weight * self.game.ramp(step.progress)
        if weight > 0.0:
            loss = loss + weight * self.pairs.generated_loss(step)
        step.log("train/classifier_loss", loss)
        return loss

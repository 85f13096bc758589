"""A classifier that also learns from generated images it is sure of (EC-GAN: Haque 2020, arXiv 2012.15864)."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor, nn

from trigan.components import component
from trigan.losses.classifier_losses import gated_label, gated_pseudo_label
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.batchnorm import frozen_statistics
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.objective import ObjectiveContext, Ramp
from trigan.training.players import Objective, Update
from trigan.training.range_checks import require
from trigan.training.stages.classifier_stage import labelled_loss
from trigan.training.stages.gan_stage import GANObjective
from trigan.training.step import TrainingStep


@component("objective/generated_pseudo_labels@1")
@dataclass(frozen=True)
class GeneratedPseudoLabels:
    """L_C = CE(C(x), y) + weight * CE(C(G(z)), argmax C(G(z))) * 1[max p > threshold]; G and D play as ever.

    Where G draws for labels, the label takes the place of argmax and its probability that of max p; D's real images are
    then the labelled ones. The paper has weight .1 and threshold .7 from the first step; here the term comes in by
    ``ramp``, because early samples mislead C. C's counted images include the generated ones from the first step on.
    """

    weight: float = 0.1
    threshold: float = 0.95
    ramp: Ramp = field(default_factory=Ramp)

    players = ("discriminator", "generator", "classifier")
    two_heads = False

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "in [0, 1)")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        """Any will do."""

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(self, context)


@dataclass(frozen=True)
class _Play:
    game: GeneratedPseudoLabels
    context: ObjectiveContext

    def updates(self) -> tuple[Update, ...]:
        stream = "labelled" if self.context.conditional else "unlabelled"
        adversarial = GANObjective(
            self.context.loss, self.context.batch, self.context.discriminator_augmentation, stream
        )
        return (*adversarial.updates(), Update("classifier", self.classifier_loss, images=2 * self.context.batch))

    def phase(self, progress: float) -> Hashable:
        return self.game.ramp(progress) > 0.0

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        network = step.network("classifier")
        loss = labelled_loss(step, network, self.context.augmentation, mix=self.context.mix)
        weight = self.game.weight * self.game.ramp(step.progress)
        if weight > 0.0:
            loss = loss + weight * self._generated(step, network)
        step.log("train/classifier_loss", loss)
        return loss

    def _generated(self, step: TrainingStep, network: nn.Module) -> Tensor:
        fakes, threshold = step.fakes(), self.game.threshold
        with frozen_statistics(network):
            logits = network(fakes.images.detach())
        p = logits.detach().softmax(1)
        if fakes.labels is None:
            gated, believed = gated_pseudo_label(logits, threshold), p.amax(1)
        else:
            gated, believed = gated_label(logits, fakes.labels, threshold), p.gather(1, fakes.labels[:, None])
        step.log("train/generated_loss", gated)
        step.log("train/mask_ratio", (believed > threshold).float().mean())
        return gated

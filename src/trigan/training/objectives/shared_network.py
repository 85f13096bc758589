"""Games in which C and D are one network with two heads: AC-GAN, and EC-GAN's variant with a shared discriminator."""

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from trigan.components import component
from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss
from trigan.networks.batchnorm import frozen_statistics
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.objective import ObjectiveContext, require_conditional
from trigan.training.players import Objective, Update
from trigan.training.range_checks import require
from trigan.training.stages.classifier_stage import labelled_loss
from trigan.training.step import TrainingStep


@component("objective/acgan@1")
@dataclass(frozen=True)
class ACGAN:
    """AC-GAN (Odena et al. 2017, arXiv 1610.09585, section 3): the judge also names the class, and G draws for a label.

    C and D: L_adv + ``weight`` (CE(c(x), y) [+ CE(c(G(z, y)), y)]); G: L_adv + ``weight`` CE(c(G(z, y)), y). What is in
    brackets is in the original, and here with ``on_generated``; without it C learns from true labels alone. L_adv
    (``loss=``) takes all training images for real ones; the original has labels for all of them.
    """

    weight: float = 1.0
    on_generated: bool = False

    players = ("classifier", "generator")
    two_heads = True

    def __post_init__(self) -> None:
        require(self.weight > 0.0, "weight", self.weight, "above 0: it is all that tells G about labels")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, True, "acgan")
        _require_no_penalty(loss, "acgan")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(context, LossWeights(1.0, self.weight, self.weight if self.on_generated else 0.0, self.weight))


@component("objective/shared_network@1")
@dataclass(frozen=True)
class SharedNetwork:
    """EC-GAN's variant with a shared network (Haque 2020, arXiv 2012.15864).

    C and D: CE(c(x), y) + ``weight`` L_adv, G: L_adv. With loss=non_saturating L_adv is the paper's
    BCE(D(x), 1) + BCE(D(G(z)), 0); it takes all training images for real ones.
    """

    weight: float = 0.1

    players = ("classifier", "generator")
    two_heads = True

    def __post_init__(self) -> None:
        require(self.weight > 0.0, "weight", self.weight, "above 0, or nobody would judge G")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, False, "shared_network")
        _require_no_penalty(loss, "shared_network")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(context, LossWeights(self.weight, 1.0, 0.0, 0.0))


def _require_no_penalty(loss: AdversarialLoss, objective: str) -> None:
    if loss.gradient_penalty > 0.0:
        raise ConfigError(
            f"loss: strategy.objective={objective} has no gradient penalty (C's batch norm forbids it); "
            "take another loss, such as non_saturating or hinge"
        )


@dataclass(frozen=True)
class LossWeights:
    """Of C's adversarial loss and of its cross-entropy on labelled and on G's images; of the latter in G's loss."""

    adversarial: float
    labelled: float
    generated: float
    condition: float


@dataclass(frozen=True)
class _Play:
    context: ObjectiveContext
    weights: LossWeights

    def updates(self) -> tuple[Update, ...]:
        batch, every = self.context.batch, self.context.loss.discriminator_steps
        return (
            Update("classifier", self.classifier_loss, images=3 * batch),
            Update("generator", self.generator_loss, images=batch, every=every),
        )

    def phase(self, progress: float) -> Hashable:
        return None

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        """Both heads' loss: labels on L, real or generated on U and G's images."""
        network, unlabelled, fakes = step.network("classifier"), step.batch("unlabelled"), step.fakes()
        view, weights = self.context.discriminator_augmentation, self.weights
        loss = weights.labelled * labelled_loss(step, network, self.context.augmentation, mix=self.context.mix)
        real = network.real_logits(view(unlabelled.images, unlabelled.draws, "view"))
        with frozen_statistics(network):
            classes, fake = network.class_and_real_logits(view(fakes.images.detach(), fakes.draws, "view"))
        adversarial = self.context.loss.discriminator_loss(real, fake)
        step.log("train/adversarial_loss", adversarial)
        loss = loss + weights.adversarial * adversarial
        if weights.generated > 0.0:
            generated = F.cross_entropy(classes, fakes.known_labels)
            step.log("train/generated_loss", generated)
            loss = loss + weights.generated * generated
        step.log("train/classifier_loss", loss)
        return loss

    def generator_loss(self, step: TrainingStep) -> Tensor:
        network, fakes = step.network("classifier"), step.fakes()
        with frozen_statistics(network):
            classes, verdict = network.class_and_real_logits(
                self.context.discriminator_augmentation(fakes.images, fakes.draws, "view")
            )
        loss = self.context.loss.generator_loss(verdict)
        if self.weights.condition > 0.0:
            condition = F.cross_entropy(classes, fakes.known_labels)
            step.log("train/auxiliary_classifier_loss", condition)
            loss = loss + self.weights.condition * condition
        step.log("train/generator_loss", loss)
        return loss

"""What three-player games on pairs (image, label) have in common: which pairs D judges, and who is paid for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, hinge_discriminator, minimax_discriminator
from trigan.losses.triple_gan_losses import argmax_pair_classifier, pair_classifier
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext
from trigan.training.players import Update
from trigan.training.range_checks import require
from trigan.training.step import TrainingStep

#: Which of C's labels for an unlabelled image it is paid by D for.
AdversarialLabels = Literal["all", "argmax"]


class PairLogits(NamedTuple):
    """D's logits (N,) of labelled pairs, of unlabelled images with C's labels, and of G's images with theirs."""

    labelled: Tensor
    by_classifier: Tensor
    by_generator: Tensor


@dataclass(frozen=True)
class PairLosses:
    """The moves on pairs; ``alpha`` divides D's attention between C's pairs and G's."""

    context: ObjectiveContext
    alpha: float

    def updates(
        self,
        discriminator_loss: Callable[[TrainingStep], Tensor],
        classifier_loss: Callable[[TrainingStep], Tensor],
        start: float = 0.0,
    ) -> tuple[Update, ...]:
        """D, G and C in turn; D and G move from the share ``start`` of the fit on."""
        batch, every = self.context.batch, self.context.loss.discriminator_steps
        return (
            Update("discriminator", discriminator_loss, images=3 * batch, start=start),
            Update("generator", self.generator_loss, images=batch, every=every, start=start),
            Update("classifier", classifier_loss, images=3 * batch),
        )

    def pair_logits(self, step: TrainingStep) -> PairLogits:
        """What D says of each kind of pair; labelled images alone move its running statistics."""
        judge, classifier, view = (
            step.network("discriminator"),
            step.network("classifier"),
            self.context.discriminator_augmentation,
        )
        labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()
        with torch.no_grad(), frozen_statistics(classifier):
            guessed = classifier(unlabelled.images).argmax(1)
        real = judge(view(labelled.images, labelled.draws, "view"), labelled.labels)
        with frozen_statistics(judge):
            by_classifier = judge(view(unlabelled.images, unlabelled.draws, "view"), guessed)
            by_generator = judge(view(fakes.images.detach(), fakes.draws, "view"), fakes.labels)
        return PairLogits(real, by_classifier, by_generator)

    def generator_loss(self, step: TrainingStep) -> Tensor:
        """(1 - alpha) times G's adversarial loss."""
        judge, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(judge):
            logits = judge(self.context.discriminator_augmentation(fakes.images, fakes.draws, "view"), fakes.labels)
        loss = (1.0 - self.alpha) * self.context.loss.generator_loss(logits)
        step.log("train/generator_loss", loss)
        return loss

    def adversarial_loss(self, step: TrainingStep, logits: Tensor, weight: float, labels: AdversarialLabels) -> Tensor:
        """C's adversarial loss for its ``logits`` of the unlabelled images: all of its labels, or the likeliest."""
        judge, unlabelled = step.network("discriminator"), step.batch("unlabelled")
        with torch.no_grad(), frozen_statistics(judge):
            images = self.context.discriminator_augmentation(unlabelled.images, unlabelled.draws, "view")
            every = labels == "all"
            judged = judge.logits_for_every_label(images, logits.shape[1]) if every else judge(images, logits.argmax(1))
        adversarial = (pair_classifier if every else argmax_pair_classifier)(logits, judged, weight)
        step.log("train/adversarial_loss", adversarial)
        return adversarial

    def generated_loss(self, step: TrainingStep) -> Tensor:
        """C's cross-entropy on G's pairs: R_P, the paper's pseudo-discriminative loss."""
        network, fakes = step.network("classifier"), step.fakes()
        with frozen_statistics(network):
            pairs = F.cross_entropy(network(fakes.images.detach()), fakes.known_labels)
        step.log("train/generated_loss", pairs)
        return pairs


def require_adversarial_labels(labels: str) -> None:
    """Raise a ConfigError unless it is one of :data:`AdversarialLabels`."""
    require(labels in get_args(AdversarialLabels), "adversarial_labels", labels, "all or argmax")


def require_logits(loss: AdversarialLoss, objective: str) -> None:
    """Raise a ConfigError unless D's outputs are logits that C can be paid by, without a gradient penalty."""
    if loss.discriminator_loss not in (minimax_discriminator, hinge_discriminator):
        raise ConfigError(
            f"loss: with strategy.objective={objective} C learns from D's outputs as logits; "
            "take loss=minimax, non_saturating or hinge"
        )
    if loss.gradient_penalty > 0.0:
        raise ConfigError(f"loss: strategy.objective={objective} has no gradient penalty; take another loss")

"""What three-player games on pairs (image, label) have in common: which pairs D judges, and who is paid for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.losses.adversarial import hinge_discriminator, minimax_discriminator
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.triple_gan_losses import likeliest_pair_classifier, pair_classifier
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import Table
from trigan.training.players import Update
from trigan.training.range_checks import require
from trigan.training.step import Step

#: Which of C's labels for an unlabelled image it is paid by D for.
PaidLabels = Literal["all", "likeliest"]


class Judged(NamedTuple):
    """D's logits (N,) of labelled pairs, of unlabelled images with C's labels, and of G's images with theirs."""

    labelled: Tensor
    by_classifier: Tensor
    by_generator: Tensor


@dataclass(frozen=True)
class Pairs:
    """The moves on pairs; ``alpha`` divides D's attention between C's pairs and G's."""

    table: Table
    alpha: float

    def updates(
        self,
        discriminator_loss: Callable[[Step], Tensor],
        classifier_loss: Callable[[Step], Tensor],
        since: float = 0.0,
    ) -> tuple[Update, ...]:
        """D, G and C in turn; D and G move from the share ``since`` of the fit on."""
        batch, every = self.table.batch, self.table.loss.discriminator_steps
        return (
            Update("discriminator", discriminator_loss, images=3 * batch, since=since),
            Update("generator", self.generator_loss, images=batch, every=every, since=since),
            Update("classifier", classifier_loss, images=3 * batch),
        )

    def judged(self, step: Step) -> Judged:
        """What D says of each kind of pair; labelled images alone move its running statistics."""
        judge, classifier, view = step.network("discriminator"), step.network("classifier"), self.table.view
        labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()
        with torch.no_grad(), frozen_statistics(classifier):
            guessed = classifier(unlabelled.images).argmax(1)
        real = judge(view(labelled.images, labelled.draws, "view"), labelled.labels)
        with frozen_statistics(judge):
            by_classifier = judge(view(unlabelled.images, unlabelled.draws, "view"), guessed)
            by_generator = judge(view(fakes.images.detach(), fakes.draws, "view"), fakes.labels)
        return Judged(real, by_classifier, by_generator)

    def generator_loss(self, step: Step) -> Tensor:
        """(1 - alpha) times G's adversarial loss."""
        judge, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(judge):
            logits = judge(self.table.view(fakes.images, fakes.draws, "view"), fakes.labels)
        loss = (1.0 - self.alpha) * self.table.loss.generator_loss(logits)
        step.note("train/generator_loss", loss)
        return loss

    def adversarial(self, step: Step, logits: Tensor, weight: float, labels: PaidLabels) -> Tensor:
        """C's adversarial loss for its ``logits`` of the unlabelled images: all of its labels, or the likeliest."""
        judge, unlabelled = step.network("discriminator"), step.batch("unlabelled")
        with torch.no_grad(), frozen_statistics(judge):
            images = self.table.view(unlabelled.images, unlabelled.draws, "view")
            every = labels == "all"
            judged = judge.of_every_label(images, logits.shape[1]) if every else judge(images, logits.argmax(1))
        adversarial = (pair_classifier if every else likeliest_pair_classifier)(logits, judged, weight)
        step.note("train/adversarial_loss", adversarial)
        return adversarial

    def generated(self, step: Step) -> Tensor:
        """C's cross-entropy on G's pairs: R_P, the paper's pseudo-discriminative loss."""
        network, fakes = step.network("classifier"), step.fakes()
        with frozen_statistics(network):
            pairs = F.cross_entropy(network(fakes.images.detach()), fakes.known_labels)
        step.note("train/generated_loss", pairs)
        return pairs


def require_labels(labels: str) -> None:
    """Raise a ConfigError unless it is one of :data:`PaidLabels`."""
    require(labels in get_args(PaidLabels), "labels", labels, "all or likeliest")


def require_logits(loss: AdversarialLoss, objective: str) -> None:
    """Raise a ConfigError unless D's outputs are logits that C can be paid by, without a gradient penalty."""
    if loss.discriminator_loss not in (minimax_discriminator, hinge_discriminator):
        raise ConfigError(
            f"loss: with strategy.objective={objective} C learns from D's outputs as logits; "
            "take loss=minimax, non_saturating or hinge"
        )
    if loss.gradient_penalty > 0.0:
        raise ConfigError(f"loss: strategy.objective={objective} has no gradient penalty; take another loss")

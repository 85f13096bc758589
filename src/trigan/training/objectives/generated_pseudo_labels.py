"""EC-GAN (Haque 2020, arXiv 2012.15864): a classifier also learns confident pseudo-labels of G's images."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.losses.semi_supervised_losses import gated_label
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory, Ramp
from trigan.training.players import Update
from trigan.training.stages.gan_stage import GANObjective
from trigan.training.step import TrainingStep


@component("objective/generated_pseudo_labels@1")
@dataclass(frozen=True)
class GeneratedPseudoLabels(ObjectiveFactory):
    """EC-GAN: an ordinary GAN, and a classifier with pseudo-labels on its samples.

    - C: CE(C(x), y) + ``weight`` CE(C(G(z)), argmax p(G(z))) 1[max p(G(z)) > ``threshold``]. With a label-conditional G
      the label given to G replaces argmax p, and the probability of that label replaces max p.
    - D and G: the adversarial loss. D's real images are the unlabelled ones, or the labelled ones with labels.

    The paper has weight .1 and threshold .7 from the first step; here ``ramp`` delays the term, because early samples
    mislead C. C's counted images include the generated ones from the first step on.
    """

    weight: float = 0.1
    threshold: float = 0.95
    ramp: Ramp = field(default_factory=Ramp)

    name = "generated_pseudo_labels"
    players = ("discriminator", "generator", "classifier")
    penalty = pairs = True

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "in [0, 1)")

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """D and G as in the GAN stage, then C."""
        stream = "labelled" if context.conditional else "unlabelled"
        gan = GANObjective(context.loss, context.batch, context.discriminator_augmentation, stream)
        classifier = Update("classifier", partial(self._classifier_loss, context), images=2 * context.batch)
        return (*gan.updates(), classifier)

    def phase(self, progress: float) -> Hashable:
        """Whether the pseudo-label term is active."""
        return self.ramp(progress) > 0.0

    def _classifier_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        loss = context.labelled_loss(step)
        if step.decided(lambda now: self.weight * self.ramp(now.progress) > 0.0):
            weight = step.scheduled(lambda now: self.weight * self.ramp(now.progress))
            loss = loss + weight * self._generated_loss(step)
        step.log("train/classifier_loss", loss)
        return loss

    def _generated_loss(self, step: TrainingStep) -> Tensor:
        network, fakes = step.network("classifier"), step.fakes()
        with frozen_statistics(network):
            logits = network(fakes.images.detach())
        p = logits.detach().softmax(1)
        labels = p.argmax(1) if fakes.labels is None else fakes.labels
        loss = gated_label(logits, labels, self.threshold)
        step.log("train/generated_loss", loss)
        step.log("train/mask_ratio", (p.gather(1, labels[:, None]) > self.threshold).float().mean())
        return loss

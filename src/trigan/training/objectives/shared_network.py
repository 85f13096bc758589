"""Objectives in which C and D are one network with two heads: AC-GAN, and EC-GAN with a shared discriminator."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from trigan.checks import require
from trigan.component_ids import component
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.players import Update
from trigan.training.step import TrainingStep


class _Weights(NamedTuple):
    """Weights in C's loss (adversarial, cross-entropy on labelled and on G's images) and of G's cross-entropy."""

    adversarial: float
    labelled: float
    generated: float
    generator_condition: float


class _SharedNetwork(ObjectiveFactory):
    two_heads = True

    @abstractmethod
    def _weights(self) -> _Weights: ...

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """C in every step, and G in every ``loss.discriminator_steps``-th step."""
        batch, every = context.batch, context.loss.discriminator_steps
        return (
            Update("classifier", partial(_classifier_loss, context, self._weights()), images=3 * batch),
            Update("generator", partial(_generator_loss, context, self._weights()), images=batch, every=every),
        )


@component("objective/acgan@1")
@dataclass(frozen=True)
class ACGAN(_SharedNetwork):
    """AC-GAN (Odena et al. 2017, arXiv 1610.09585, section 3): D also predicts the class, and G takes a label.

    With c the class head, L_S the adversarial loss (``loss=``) and w = ``weight``:

    - C and D: L_S + w (CE(c(x), y) [+ CE(c(G(z, y)), y)]).
    - G: L_S + w CE(c(G(z, y)), y).

    The paper has the term in brackets; here ``on_generated`` adds it, and without it C learns from true labels alone.
    The real images of L_S are all training images; the paper has labels for all of them.
    """

    weight: float = 1.0
    on_generated: bool = False

    name, conditional = "acgan", True

    def __post_init__(self) -> None:
        require(self.weight > 0.0, "weight", self.weight, "above 0: G learns labels from this term alone")

    def _weights(self) -> _Weights:
        return _Weights(1.0, self.weight, self.weight if self.on_generated else 0.0, self.weight)


@component("objective/shared_network@1")
@dataclass(frozen=True)
class SharedNetwork(_SharedNetwork):
    """EC-GAN with a shared network (Haque 2020, arXiv 2012.15864); w = ``weight``, D is the real-or-generated head.

    - C and D: CE(c(x), y) + w L_adv. With loss=non_saturating L_adv is the paper's BCE(D(x), 1) + BCE(D(G(z)), 0); its
      real images are all training images.
    - G: L_adv.
    """

    weight: float = 0.1

    name, conditional = "shared_network", False

    def __post_init__(self) -> None:
        require(self.weight > 0.0, "weight", self.weight, "above 0: D learns from this term alone")

    def _weights(self) -> _Weights:
        return _Weights(self.weight, 1.0, 0.0, 0.0)


def _classifier_loss(context: ObjectiveContext, weights: _Weights, step: TrainingStep) -> Tensor:
    """Loss of both heads, shape (): the class head on labelled images, the other on unlabelled and G's images."""
    network, fakes = step.network("classifier"), step.fakes()
    loss = weights.labelled * context.labelled_loss(step)
    real = network.real_logits(context.discriminator_view(step.batch("unlabelled")))
    with frozen_statistics(network):
        classes, fake = network.class_and_real_logits(context.discriminator_view(fakes.detached))
    adversarial = context.loss.discriminator_loss(real, fake)
    step.log("train/adversarial_loss", adversarial)
    loss = loss + weights.adversarial * adversarial
    if weights.generated > 0.0:
        generated = F.cross_entropy(classes, fakes.known_labels)
        step.log("train/generated_loss", generated)
        loss = loss + weights.generated * generated
    step.log("train/classifier_loss", loss)
    return loss


def _generator_loss(context: ObjectiveContext, weights: _Weights, step: TrainingStep) -> Tensor:
    network, fakes = step.network("classifier"), step.fakes()
    with frozen_statistics(network):
        classes, real_logits = network.class_and_real_logits(context.discriminator_view(fakes))
    loss = context.loss.generator_loss(real_logits)
    if weights.generator_condition > 0.0:
        condition = F.cross_entropy(classes, fakes.known_labels)
        step.log("train/auxiliary_classifier_loss", condition)
        loss = loss + weights.generator_condition * condition
    step.log("train/generator_loss", loss)
    return loss

"""Triple-GAN (Li et al. 2017, arXiv 1703.02291): three players on pairs (image, label).

C labels unlabelled images, G draws images for labels, and D separates true pairs from both. In the equations, l are D's
logits, p the probabilities of C, x_u unlabelled images, y_u = argmax p(x_u), and true pairs are labelled images.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan import distributed
from trigan.checks import require, require_settings
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.losses import semi_supervised_losses as losses
from trigan.losses.gan_losses import AdversarialLoss, hinge_discriminator, minimax_discriminator
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory, Ramp
from trigan.training.players import Update
from trigan.training.step import TrainingStep

#: Labels of an unlabelled image that C's adversarial loss uses: all, weighted by probability, or the most likely one.
AdversarialLabels = Literal["all", "argmax"]


@component("objective/conditional@1")
@dataclass(frozen=True)
class Conditional(ObjectiveFactory):
    """Triple-GAN's base form (algorithm 1), with any loss on logits; the equations are for the non-saturating loss.

    - D: softplus(-l) on true pairs + alpha softplus(l(x_u, y_u)) + (1 - alpha) softplus(l(G(z, y), y)).
    - G: (1 - alpha) softplus(-l(G(z, y), y)).
    - C: CE on labelled images + alpha E sum_y p(y|x_u) softplus(-l(x_u, y)) + ``pair_weight`` R_P, where
      R_P = CE(C(G(z, y)), y), the pseudo-discriminative loss, is also weighted by ``ramp``. With
      ``adversarial_labels=argmax`` the sum has only y_u; without a further term this only makes C less certain.

    ``alpha`` is 1/2 in the authors' code. C's counted images include G's from the first step on.
    """

    alpha: float = 0.5
    pair_weight: float = 0.1
    ramp: Ramp = field(default_factory=Ramp)
    adversarial_labels: AdversarialLabels = "all"

    name, conditional = "conditional", True
    players = ("discriminator", "generator", "classifier")
    pretrain, labelled_fraction = 0.0, 1.0

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < 1.0, "alpha", self.alpha, "in (0, 1)")
        require(self.pair_weight >= 0.0, "pair_weight", self.pair_weight, "at least 0")
        labels = self.adversarial_labels
        require(labels in ("all", "argmax"), "adversarial_labels", labels, "all or argmax")

    def _check_loss(self, loss: AdversarialLoss) -> None:
        if loss.discriminator_loss not in (minimax_discriminator, hinge_discriminator):
            raise ConfigError(
                f"loss: with strategy.objective={self.name} C learns from D's outputs as logits; "
                "take loss=minimax, non_saturating or hinge"
            )

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """D, G and C in turn; D and G start after the share ``pretrain`` of the fit."""
        batch, every, start = context.batch, context.loss.discriminator_steps, self.pretrain
        return (
            Update("discriminator", partial(self._discriminator_loss, context), images=3 * batch, start=start),
            Update("generator", partial(self._generator_loss, context), images=batch, every=every, start=start),
            Update("classifier", partial(self._classifier_loss, context), images=3 * batch),
        )

    def phase(self, progress: float) -> Hashable:
        """Whether only C is updated, and whether R_P is active."""
        return progress < self.pretrain, self.ramp(progress) > 0.0

    def _discriminator_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        """Only labelled images update D's running statistics."""
        discriminator, classifier = step.network("discriminator"), step.network("classifier")
        labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes().detached
        with torch.no_grad(), frozen_statistics(classifier):
            predicted = classifier(unlabelled.images).argmax(1)
        real = discriminator(context.discriminator_view(labelled), labelled.labels)
        with frozen_statistics(discriminator):
            pseudo = discriminator(context.discriminator_view(unlabelled), predicted)
            fake = discriminator(context.discriminator_view(fakes), fakes.labels)
        loss = losses.pair_discriminator(context.loss.discriminator_loss, real, pseudo, fake, self.alpha)
        if self.labelled_fraction < 1.0:
            of_pseudo = losses.pair_discriminator(context.loss.discriminator_loss, pseudo, pseudo, fake, self.alpha)
            loss = self.labelled_fraction * loss + (1.0 - self.labelled_fraction) * of_pseudo
        step.log("train/discriminator_loss", loss)
        return loss

    def _generator_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        discriminator, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(discriminator):
            logits = discriminator(context.discriminator_view(fakes), fakes.labels)
        loss = (1.0 - self.alpha) * context.loss.generator_loss(logits)
        step.log("train/generator_loss", loss)
        return loss

    def _classifier_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        network = step.network("classifier")
        loss = context.labelled_loss(step)
        logits = network(step.batch("unlabelled").images)
        loss = self._add_regularizers(loss, step, logits)
        if step.decided(lambda now: now.progress >= self.pretrain):
            loss = loss + self._adversarial_loss(context, step, logits)
            if step.decided(lambda now: self.pair_weight * self.ramp(now.progress) > 0.0):
                fakes = step.fakes()
                with frozen_statistics(network):
                    generated = F.cross_entropy(network(fakes.images.detach()), fakes.known_labels)
                step.log("train/generated_loss", generated)
                loss = loss + step.scheduled(lambda now: self.pair_weight * self.ramp(now.progress)) * generated
        step.log("train/classifier_loss", loss)
        return loss

    def _adversarial_loss(self, context: ObjectiveContext, step: TrainingStep, logits: Tensor) -> Tensor:
        """C's adversarial loss for its ``logits`` (N, K) of the unlabelled images."""
        discriminator, argmax = step.network("discriminator"), self.adversarial_labels == "argmax"
        with torch.no_grad(), frozen_statistics(discriminator):
            images = context.discriminator_view(step.batch("unlabelled"))
            if argmax:
                of_pairs = discriminator(images, logits.argmax(1))[:, None]
            else:
                of_pairs = discriminator.logits_for_every_label(images, logits.shape[1])
        p = logits.softmax(1)
        loss = losses.pair_classifier(p.amax(1, keepdim=True) if argmax else p, of_pairs, self.classifier_weight)
        step.log("train/adversarial_loss", loss)
        return loss

    @property
    def classifier_weight(self) -> float:
        """Weight of C's adversarial loss."""
        return self.alpha

    def _add_regularizers(self, loss: Tensor, step: TrainingStep, logits: Tensor) -> Tensor:
        return loss


@component("objective/triple_gan@1")
@dataclass(frozen=True)
class TripleGAN(Conditional):
    """Triple-GAN in full, with the terms, weights and schedule of the authors' code for MNIST.

    - D: softplus(-l) on true pairs + alpha softplus(l(x_u, y_u)) + (1 - alpha) softplus(l(G(z, y), y)), where
      ``labelled_fraction`` of the true pairs are labelled images and the others are pairs (x_u, y_u), because D would
      memorize a few labelled images. (The authors' code draws new x_u for these; here they are those of the step.)
    - G: as in `Conditional`.
    - C: CE on labelled images + ``classifier_weight`` E[max p softplus(-l(x_u, y_u))] + ``entropy`` E H[p(x_u)]
      + ``uniform_marginal`` CE(uniform, E p(x_u)) + ``head_decay`` |W of the last layer|^2
      + ``pair_weight`` R_P, weighted by ``ramp``.

    For the first share ``pretrain`` of the fit only C is updated, on its terms without D and G, with
    ``pretrain_uniform_marginal`` instead of ``uniform_marginal``. C's counted images include G's from the first step
    on. The authors' code averages C's weights; here the stage's ``ema`` does.
    """

    labelled_fraction: float = 0.0025
    classifier_weight: float = 0.5
    entropy: float = 0.3
    uniform_marginal: float = 1e-3
    head_decay: float = 1e-4
    ramp: Ramp = field(default_factory=lambda: Ramp(0.3, 0.0))
    pretrain: float = 0.03
    pretrain_uniform_marginal: float = 0.3
    adversarial_labels: AdversarialLabels = "argmax"

    name = "triple_gan"

    def __post_init__(self) -> None:
        require(0.0 < self.labelled_fraction <= 1.0, "labelled_fraction", self.labelled_fraction, "in (0, 1]")
        require(0.0 <= self.pretrain < 1.0, "pretrain", self.pretrain, "in [0, 1)")
        require_settings(self, "classifier_weight entropy uniform_marginal head_decay pretrain_uniform_marginal", 0)
        super().__post_init__()

    def _add_regularizers(self, loss: Tensor, step: TrainingStep, logits: Tensor) -> Tensor:
        entropy = losses.conditional_entropy(logits)
        marginal = losses.uniform_marginal_loss(distributed.global_mean(logits.softmax(1).mean(0)))
        step.log("train/entropy", entropy)
        step.log("train/uniform_marginal_loss", marginal)
        pretraining = step.decided(lambda now: now.progress < self.pretrain)
        marginal_weight = self.pretrain_uniform_marginal if pretraining else self.uniform_marginal
        loss = loss + self.entropy * entropy + marginal_weight * marginal
        head: nn.Linear = step.network("classifier").head
        return loss + self.head_decay * head.weight.square().sum()

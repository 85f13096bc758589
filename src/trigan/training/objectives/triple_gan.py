"""Triple-GAN in full (Li et al. 2017, arXiv 1703.02291), with the terms and the schedule of the authors' code."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from trigan.components import component
from trigan.losses.classifier_losses import conditional_entropy, uniform_marginal_loss
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.triple_gan_losses import pair_discriminator
from trigan.networks.gans.gan import Architecture
from trigan.training import distributed
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


@component("objective/triple_gan@1")
@dataclass(frozen=True)
class TripleGAN:
    """C labels unlabelled images, G draws images for labels, D tells true pairs from both.

    The defaults are those of the code for MNIST. With l D's logits, p C's probabilities, x_u unlabelled images and
    c = argmax p(x_u):

    - D: softplus(-l) on true pairs + alpha softplus(l(x_u, c)) + (1 - alpha) softplus(l(G(z, y), y)), where
      ``labelled_fraction`` of the true pairs are labelled ones and the rest (x_u, c) as well: few labels alone would be
      learnt by heart. (The code draws the latter anew; here they are the step's unlabelled batch.)
    - G: (1 - alpha) softplus(-l(G(z, y), y)).
    - C: CE on L + ``classifier_weight`` E[max p softplus(-l(x_u, c))] + ``entropy`` E H[p(x_u)]
      + ``uniform_marginal`` CE(uniform, E p(x_u)) + ``head_decay`` |W of the last layer|^2
      + ``pair_weight`` CE(C(G(z, y)), y), which comes in by ``ramp`` (the pseudo-discriminative loss R_P).

    For the first ``pretrain`` of the fit C moves alone, on its terms without D and G, with ``pretrain_uniform_marginal`` in the
    place of ``uniform_marginal``. C's counted images include G's from the first step on. The code averages C's weights: the
    stage's ``ema``.
    """

    alpha: float = 0.5
    labelled_fraction: float = 0.0025
    classifier_weight: float = 0.5
    entropy: float = 0.3
    uniform_marginal: float = 1e-3
    head_decay: float = 1e-4
    pair_weight: float = 0.1
    ramp: Ramp = field(default_factory=lambda: Ramp(0.3, 0.0))
    pretrain: float = 0.03
    pretrain_uniform_marginal: float = 0.3
    adversarial_labels: AdversarialLabels = "argmax"

    players = ("discriminator", "generator", "classifier")
    two_heads = False

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < 1.0, "alpha", self.alpha, "in (0, 1)")
        require(0.0 < self.labelled_fraction <= 1.0, "labelled_fraction", self.labelled_fraction, "in (0, 1]")
        require(0.0 <= self.pretrain < 1.0, "pretrain", self.pretrain, "in [0, 1)")
        for name in (
            "classifier_weight",
            "entropy",
            "uniform_marginal",
            "head_decay",
            "pair_weight",
            "pretrain_uniform_marginal",
        ):
            require(getattr(self, name) >= 0.0, name, getattr(self, name), "at least 0")
        require_adversarial_labels(self.adversarial_labels)

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, True, "triple_gan")
        require_logits(loss, "triple_gan")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(self, context, PairLosses(context, self.alpha))


@dataclass(frozen=True)
class _Play:
    game: TripleGAN
    context: ObjectiveContext
    pairs: PairLosses

    def updates(self) -> tuple[Update, ...]:
        return self.pairs.updates(self.discriminator_loss, self.classifier_loss, start=self.game.pretrain)

    def phase(self, progress: float) -> Hashable:
        return self._alone(progress), self.game.ramp(progress) > 0.0

    def _alone(self, progress: float) -> bool:
        return progress < self.game.pretrain

    def discriminator_loss(self, step: TrainingStep) -> Tensor:
        """True pairs, some of them with C's labels, against alpha of C's pairs and 1 - alpha of G's."""
        judged, game, loss = self.pairs.pair_logits(step), self.game, self.context.loss.discriminator_loss
        false = judged.by_classifier, judged.by_generator
        of_labelled = pair_discriminator(loss, judged.labelled, *false, game.alpha)
        of_pseudo = pair_discriminator(loss, judged.by_classifier, *false, game.alpha)
        total = game.labelled_fraction * of_labelled + (1.0 - game.labelled_fraction) * of_pseudo
        step.log("train/discriminator_loss", total)
        return total

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        """All of C's terms; without those of D and G as long as C moves alone."""
        network, game, alone = step.network("classifier"), self.game, self._alone(step.progress)
        loss = labelled_loss(step, network, self.context.augmentation, mix=self.context.mix)
        logits = network(step.batch("unlabelled").images)
        entropy = conditional_entropy(logits)
        average = uniform_marginal_loss(distributed.global_mean(logits.softmax(1).mean(0)))
        step.log("train/entropy", entropy)
        step.log("train/uniform_marginal_loss", average)
        loss = (
            loss
            + game.entropy * entropy
            + (game.pretrain_uniform_marginal if alone else game.uniform_marginal) * average
        )
        loss = loss + game.head_decay * network.head.weight.square().sum()
        if not alone:
            loss = loss + self.pairs.adversarial_loss(step, logits, game.classifier_weight, game.adversarial_labels)
        weight = 0.0 if alone else game.pair_weight * game.ramp(step.progress)
        if weight > 0.0:
            loss = loss + weight * self.pairs.generated_loss(step)
        step.log("train/classifier_loss", loss)
        return loss

"""Three players on pairs (image, label): Triple-GAN's base form (Li et al. 2017, arXiv 1703.02291, algorithm 1)."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.losses.adversarial import hinge_discriminator, minimax_discriminator
from trigan.losses.games import AdversarialLoss
from trigan.losses.triple import pair_classifier
from trigan.modules.checks import require
from trigan.modules.classifier import labelled_loss
from trigan.modules.objectives.game import Ramp, Table, require_conditional
from trigan.modules.players import Objective, Update
from trigan.modules.step import Step
from trigan.networks.adversaries import Architecture
from trigan.networks.batchnorm import frozen_statistics


@dataclass(frozen=True)
class Conditional:
    """C labels unlabelled images, G draws images for labels, D tells labelled pairs from both.

    ``alpha`` divides D's attention between C's pairs and G's (1/2 in the official code); ``pair_weight`` is that of C's
    cross-entropy on G's pairs (R_P), which comes in by ``ramp``. C's counted images include G's from the first step on.
    """

    alpha: float = 0.5
    pair_weight: float = 0.1
    ramp: Ramp = field(default_factory=Ramp)

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < 1.0, "alpha", self.alpha, "in (0, 1)")
        require(self.pair_weight >= 0.0, "pair_weight", self.pair_weight, "at least 0")

    @property
    def players(self) -> tuple[str, ...]:
        return ("discriminator", "generator", "classifier")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, True, "conditional")
        if loss.discriminator_loss not in (minimax_discriminator, hinge_discriminator):
            raise ConfigError(
                "loss: with strategy.objective=conditional C learns from D's outputs as logits; "
                "take loss=minimax, non_saturating or hinge"
            )
        if loss.gradient_penalty > 0.0:
            raise ConfigError("loss: strategy.objective=conditional has no gradient penalty; take another loss")

    def start(self, table: Table) -> Objective:
        return _Play(self, table)


@dataclass(frozen=True)
class _Play:
    game: Conditional
    table: Table

    def updates(self) -> tuple[Update, ...]:
        batch, every = self.table.batch, self.table.loss.discriminator_steps
        return (
            Update("discriminator", self.discriminator_loss, images=3 * batch),
            Update("generator", self.generator_loss, images=batch, every=every),
            Update("classifier", self.classifier_loss, images=3 * batch),
        )

    def phase(self, progress: float) -> Hashable:
        return self.game.ramp(progress) > 0.0

    def discriminator_loss(self, step: Step) -> Tensor:
        """Labelled pairs against alpha of C's pairs and 1 - alpha of G's."""
        judge, classifier, view = step.network("discriminator"), step.network("classifier"), self.table.view
        labelled, unlabelled, fakes = step.batch("labelled"), step.batch("unlabelled"), step.fakes()
        with torch.no_grad(), frozen_statistics(classifier):
            guessed = classifier(unlabelled.images).argmax(1)
        real = judge(view(labelled.images, labelled.draws, "view"), labelled.labels)
        with frozen_statistics(judge):
            by_classifier = judge(view(unlabelled.images, unlabelled.draws, "view"), guessed)
            by_generator = judge(view(fakes.images.detach(), fakes.draws, "view"), fakes.labels)
        pair, alpha = self.table.loss.discriminator_loss, self.game.alpha
        loss = alpha * pair(real, by_classifier) + (1.0 - alpha) * pair(real, by_generator)
        step.note("train/discriminator_loss", loss)
        return loss

    def generator_loss(self, step: Step) -> Tensor:
        """(1 - alpha) times G's adversarial loss."""
        judge, fakes = step.network("discriminator"), step.fakes()
        with frozen_statistics(judge):
            logits = judge(self.table.view(fakes.images, fakes.draws, "view"), fakes.labels)
        loss = (1.0 - self.game.alpha) * self.table.loss.generator_loss(logits)
        step.note("train/generator_loss", loss)
        return loss

    def classifier_loss(self, step: Step) -> Tensor:
        """Cross-entropy on L, the adversarial loss on U weighted by C's own confidence, and R_P on G's pairs."""
        network, judge = step.network("classifier"), step.network("discriminator")
        loss = labelled_loss(step, network, self.table.augmentation, mix=self.table.mix)
        unlabelled = step.batch("unlabelled")
        logits = network(unlabelled.images)
        with torch.no_grad(), frozen_statistics(judge):
            verdict = judge(self.table.view(unlabelled.images, unlabelled.draws, "view"), logits.argmax(1))
        adversarial = pair_classifier(logits, verdict, self.game.alpha)
        step.note("train/adversarial_loss", adversarial)
        loss = loss + adversarial
        weight = self.game.pair_weight * self.game.ramp(step.progress)
        if weight > 0.0:
            fakes = step.fakes()
            with frozen_statistics(network):
                pairs = F.cross_entropy(network(fakes.images.detach()), fakes.known_labels)
            step.note("train/generated_loss", pairs)
            loss = loss + weight * pairs
        step.note("train/classifier_loss", loss)
        return loss

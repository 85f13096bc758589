"""A classifier that also learns from generated images it is sure of (EC-GAN: Haque 2020, arXiv 2012.15864)."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from trigan.losses.games import AdversarialLoss
from trigan.losses.pseudo_label import gated_pseudo_label
from trigan.modules.checks import require
from trigan.modules.classifier import labelled_loss
from trigan.modules.gan import Adversarial
from trigan.modules.objectives.game import Ramp, Table, require_conditional
from trigan.modules.players import Objective, Update
from trigan.modules.step import Step
from trigan.networks.adversaries import Architecture
from trigan.networks.batchnorm import frozen_statistics


@dataclass(frozen=True)
class PseudoLabel:
    """L_C = CE(C(x), y) + weight * CE(C(G(z)), argmax C(G(z))) * 1[max p > threshold]; G and D play as ever.

    The paper has weight .1 and threshold .7 from the first step; here the term comes in by ``ramp``, because early
    samples mislead C. C's counted images include the generated ones from the first step on.
    """

    weight: float = 0.1
    threshold: float = 0.95
    ramp: Ramp = field(default_factory=Ramp)

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "in [0, 1)")

    @property
    def players(self) -> tuple[str, ...]:
        return ("discriminator", "generator", "classifier")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, False, "pseudo_label")

    def start(self, table: Table) -> Objective:
        return _Play(self, table)


@dataclass(frozen=True)
class _Play:
    game: PseudoLabel
    table: Table

    def updates(self) -> tuple[Update, ...]:
        adversarial = Adversarial(self.table.loss, self.table.batch, self.table.view, stream="unlabelled")
        return (*adversarial.updates(), Update("classifier", self.classifier_loss, images=2 * self.table.batch))

    def phase(self, progress: float) -> Hashable:
        return self.game.ramp(progress) > 0.0

    def classifier_loss(self, step: Step) -> Tensor:
        network = step.network("classifier")
        loss = labelled_loss(step, network, self.table.augmentation, mix=self.table.mix)
        weight = self.game.weight * self.game.ramp(step.progress)
        if weight > 0.0:
            with frozen_statistics(network):
                logits = network(step.fakes().images.detach())
            gated = gated_pseudo_label(logits, self.game.threshold)
            step.note("train/generated_loss", gated)
            step.note("train/sure_share", (logits.detach().softmax(1).amax(1) > self.game.threshold).float().mean())
            loss = loss + weight * gated
        step.note("train/classifier_loss", loss)
        return loss

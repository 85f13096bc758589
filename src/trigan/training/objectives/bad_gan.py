"""K+1 classes against a complement generator ("bad GAN": Dai et al. 2017, arXiv 1705.09783)."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trigan.components import component
from trigan.losses.classifier_losses import conditional_entropy
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.semi_supervised import (
    absolute_feature_matching,
    feature_matching,
    pull_away,
    pull_away_moments,
)
from trigan.networks.gans.gan import Architecture
from trigan.training import distributed
from trigan.training.objectives.k_plus_one import KPlusOne, require_default_loss
from trigan.training.objectives.objective import ObjectiveContext, require_conditional
from trigan.training.players import Objective, Update
from trigan.training.range_checks import require
from trigan.training.step import TrainingStep


@component("objective/bad_gan@1")
@dataclass(frozen=True)
class BadGAN:
    """Feature matching's game, with C sure of unlabelled images and G kept from drawing one thing.

    C (eq. 8): CE over the K classes + ``unlabelled_weight`` times the true/fake terms, with the authors' factors of 1/2
    + ``entropy`` E H[p(x_u)]. G (section 4.2): feature matching + ``pull_away`` times the pull-away term, both on C's
    embedding; ``matching`` is of ``absolute`` differences of means, or of their ``squares``, beside which a pull-away
    term of this weight is all that G hears. Defaults: the authors' code for SVHN.

    The paper's third term of G, which drives samples to where p(x) is low, is left out: it wants a PixelCNN trained
    beforehand, and the authors' code for SVHN does without it.
    """

    unlabelled_weight: float = 1.0
    entropy: float = 0.1
    pull_away: float = 0.8
    matching: Literal["absolute", "squares"] = "absolute"

    players = ("classifier", "generator")
    two_heads = False

    def __post_init__(self) -> None:
        for name in ("unlabelled_weight", "entropy", "pull_away"):
            require(getattr(self, name) >= 0.0, name, getattr(self, name), "at least 0")
        require(self.matching in ("absolute", "squares"), "matching", self.matching, "absolute or squares")

    def check(self, architecture: Architecture, loss: AdversarialLoss) -> None:
        require_conditional(architecture, False, "bad_gan")
        require_default_loss(loss, "bad_gan", "K+1 classes, feature matching, pull-away")

    def build(self, context: ObjectiveContext) -> Objective:
        return _Play(self, context, KPlusOne(context, self.unlabelled_weight))


@dataclass(frozen=True)
class _Play:
    game: BadGAN
    context: ObjectiveContext
    base: KPlusOne

    def updates(self) -> tuple[Update, ...]:
        batch = self.context.batch
        return (
            Update("classifier", self.classifier_loss, images=3 * batch),
            Update("generator", self.generator_loss, images=2 * batch),
        )

    def phase(self, progress: float) -> Hashable:
        return None

    def classifier_loss(self, step: TrainingStep) -> Tensor:
        loss, unlabelled = self.base.classifier_loss(step)
        entropy = conditional_entropy(unlabelled)
        step.log("train/entropy", entropy)
        loss = loss + self.game.entropy * entropy
        step.log("train/classifier_loss", loss)
        return loss

    def generator_loss(self, step: TrainingStep) -> Tensor:
        wanted, given = self.base.embeddings(step)
        match = absolute_feature_matching if self.game.matching == "absolute" else feature_matching
        matching = match(distributed.global_mean(wanted), distributed.global_mean(given.mean(0)))
        outer, own = (distributed.global_mean(moment) for moment in pull_away_moments(given))
        apart = pull_away(outer, own, len(given) * distributed.world_size())
        step.log("train/feature_matching", matching)
        step.log("train/pull_away", apart)
        loss = matching + self.game.pull_away * apart
        step.log("train/generator_loss", loss)
        return loss

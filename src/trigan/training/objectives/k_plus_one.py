"""What the games with K + 1 classes have in common: C's loss, what G sees of C, and which losses they refuse."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.errors import ConfigError
from trigan.losses.gan_losses import AdversarialLoss, minimax_discriminator
from trigan.losses.semi_supervised import k_plus_one_generated, k_plus_one_real
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext
from trigan.training.stages.classifier_stage import labelled_loss
from trigan.training.step import TrainingStep


def require_default_loss(loss: AdversarialLoss, objective: str, own: str) -> None:
    """Raise a ConfigError for a choice of loss that a game with losses of its ``own`` would ignore."""
    if loss.discriminator_loss is not minimax_discriminator or loss.gradient_penalty > 0.0:
        raise ConfigError(
            f"loss: strategy.objective={objective} has losses of its own ({own}); leave loss=non_saturating"
        )
    if loss.discriminator_steps != 1:
        raise ConfigError(
            f"loss.discriminator_steps: {loss.discriminator_steps} must be 1 with strategy.objective={objective}, "
            "where C and G both move in every step"
        )


@dataclass(frozen=True)
class KPlusOne:
    """The moves of a C that is D too, with ``unlabelled_weight`` on telling unlabelled from generated images.

    A C with batch norm normalises unlabelled and generated images each by their own batch, so the means of its features
    say next to nothing of the images' mean and contrast; Salimans et al. and Dai et al. have weight norm instead.
    """

    context: ObjectiveContext
    unlabelled_weight: float

    def classifier_loss(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """C's loss, shape (), and its logits of the unlabelled images, (N, K)."""
        network, unlabelled, fakes = step.network("classifier"), step.batch("unlabelled"), step.fakes()
        view = self.context.discriminator_augmentation
        loss = labelled_loss(step, network, self.context.augmentation, mix=self.context.mix)
        logits = network(view(unlabelled.images, unlabelled.draws, "view"))
        real = k_plus_one_real(logits)
        with frozen_statistics(network):
            fake = k_plus_one_generated(network(view(fakes.images.detach(), fakes.draws, "view")))
        step.log("train/real_loss", real)
        step.log("train/fake_loss", fake)
        return loss + self.unlabelled_weight * (real + fake), logits

    def embeddings(self, step: TrainingStep) -> tuple[Tensor, Tensor]:
        """What G's side sees: C's mean embedding of unlabelled images, (F,), a constant, and that of G's, (N, F)."""
        network, unlabelled, fakes = step.network("classifier"), step.batch("unlabelled"), step.fakes()
        view = self.context.discriminator_augmentation
        with frozen_statistics(network):
            with torch.no_grad():
                wanted = network.embed(view(unlabelled.images, unlabelled.draws, "view")).mean(0)
            return wanted, network.embed(view(fakes.images, fakes.draws, "view"))

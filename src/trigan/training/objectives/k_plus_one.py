"""Semi-supervised GANs whose classifier is also the discriminator, with an implicit class K + 1 for generated images.

With l(x) the K logits of C and Z(x) = sum_k exp l_k(x), an image is real with probability D(x) = Z / (Z + 1)
(Salimans et al. 2016, arXiv 1606.03498, section 5).

If C has batch norm, unlabelled and generated images are normalised by separate batch statistics, so the mean features
do not reflect the mean and contrast of the images; both papers use weight norm instead.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from trigan import distributed
from trigan.checks import require, require_settings
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.losses import semi_supervised_losses as losses
from trigan.losses.gan_losses import AdversarialLoss, minimax_discriminator
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.players import Update
from trigan.training.step import Batch, TrainingStep

#: How G's loss compares means of features: by absolute differences or by squares.
Matching = Literal["absolute", "squares"]


@component("objective/feature_matching@1")
@dataclass(frozen=True)
class FeatureMatching(ObjectiveFactory):
    """Feature matching (Salimans et al. 2016, arXiv 1606.03498, sections 3.1 and 5).

    With f the penultimate features of C, w = ``unlabelled_weight``, and the factors of 1/2 of the authors' code:

    - C: CE(l(x), y) + w (-E log D(x_u) / 2 - E log(1 - D(G(z))) / 2).
    - G: mean_i |E f_i(x_u) - E f_i(G(z))|^q, with q = 2 (``matching`` = ``squares``) as in the paper and the authors'
      code for MNIST, or q = 1 (``absolute``) as in their code for SVHN and CIFAR-10.
    """

    unlabelled_weight: float = 1.0
    matching: Matching = "squares"

    name, conditional = "feature_matching", False
    own_losses = "K+1 classes, feature matching"

    def __post_init__(self) -> None:
        require_settings(self, "unlabelled_weight", 0)
        require(self.matching in get_args(Matching), "matching", self.matching, "absolute or squares")

    def _check_loss(self, loss: AdversarialLoss) -> None:
        if loss.discriminator_loss is not minimax_discriminator or loss.gradient_penalty > 0.0:
            raise ConfigError(
                f"loss: strategy.objective={self.name} has losses of its own ({self.own_losses}); "
                "leave loss=non_saturating"
            )
        if loss.discriminator_steps != 1:
            raise ConfigError(
                f"loss.discriminator_steps: {loss.discriminator_steps} must be 1 with strategy.objective={self.name}, "
                "which updates C and G in every step"
            )

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """C and G, each in every step."""
        return (
            Update("classifier", partial(self._classifier_loss, context), images=3 * context.batch),
            Update("generator", partial(self._generator_loss, context), images=2 * context.batch),
        )

    def _classifier_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        network, fakes = step.network("classifier"), step.fakes()
        loss = context.labelled_loss(step)
        logits = network(context.discriminator_view(step.batch("unlabelled")))
        real = losses.k_plus_one_real(logits)
        with frozen_statistics(network):
            fake = losses.k_plus_one_generated(network(context.discriminator_view(fakes.detached)))
        step.log("train/real_loss", real)
        step.log("train/fake_loss", fake)
        loss = self._add_regularizer(loss + self.unlabelled_weight * (real + fake), step, logits)
        step.log("train/classifier_loss", loss)
        return loss

    def _generator_loss(self, context: ObjectiveContext, step: TrainingStep) -> Tensor:
        network = step.network("classifier")
        with frozen_statistics(network):
            with torch.no_grad():
                real_mean = network.embed(context.discriminator_view(step.batch("unlabelled"))).mean(0)
            fake = network.embed(context.discriminator_view(step.fakes()))
        loss = self._match(step, distributed.global_mean(real_mean), fake)
        step.log("train/generator_loss", loss)
        return loss

    def _add_regularizer(self, loss: Tensor, step: TrainingStep, logits: Tensor) -> Tensor:
        return loss

    def _match(self, step: TrainingStep, real_mean: Tensor, fake: Tensor) -> Tensor:
        """G's loss, from C's mean embedding of real images, (F,), and C's embeddings of generated images, (N, F)."""
        return losses.feature_matching(
            real_mean, distributed.global_mean(fake.mean(0)), absolute=self.matching == "absolute"
        )


@component("objective/bad_gan@1")
@dataclass(frozen=True)
class BadGAN(FeatureMatching):
    """Complement generator, "bad GAN" (Dai et al. 2017, arXiv 1705.09783); defaults of the authors' code for SVHN.

    - C (eq. 8): `FeatureMatching`'s loss + ``entropy`` E H[p(y|x_u)].
    - G (section 4.2): feature matching + ``pull_away`` times the pull-away term
      1 / (N (N - 1)) sum_{i != j} cos(f(G(z_i)), f(G(z_j)))^2. ``matching`` compares means of features by ``absolute``
      differences or by ``squares``; with squares, the pull-away term dominates at its default weight.

    The paper's third term of G, which moves samples to regions of low p(x), is omitted: it needs a pretrained
    PixelCNN, and the authors' code for SVHN omits it too.
    """

    matching: Matching = "absolute"
    entropy: float = 0.1
    pull_away: float = 0.8

    name, own_losses = "bad_gan", "K+1 classes, feature matching, pull-away"

    def __post_init__(self) -> None:
        require_settings(self, "entropy pull_away", 0)
        super().__post_init__()

    def _add_regularizer(self, loss: Tensor, step: TrainingStep, logits: Tensor) -> Tensor:
        entropy = losses.conditional_entropy(logits)
        step.log("train/entropy", entropy)
        return loss + self.entropy * entropy

    def _match(self, step: TrainingStep, real_mean: Tensor, fake: Tensor) -> Tensor:
        matching = super()._match(step, real_mean, fake)
        outer, own = (distributed.global_mean(moment) for moment in losses.pull_away_moments(fake))
        pull_away_term = losses.pull_away(outer, own, len(fake) * distributed.world_size())
        step.log("train/feature_matching", matching)
        step.log("train/pull_away", pull_away_term)
        return matching + self.pull_away * pull_away_term


@component("objective/variational_bad_gan@1")
@dataclass(frozen=True)
class VariationalBadGAN(BadGAN):
    """BadGAN with the variational bound of G's entropy; defaults of the authors' code for CIFAR-10.

    - C: as in `BadGAN`; that code has no entropy term.
    - Encoder E: -E log q(z|G(z)), where q(z|x) is normal with the mean and deviation E(x).
    - G: feature matching + ``variational`` (-E log q(z|G(z))), and no pull-away term.

    In that code G and E take one common step; here E is updated first.
    """

    entropy: float = 0.0
    pull_away: float = 0.0
    variational: float = 0.01

    name, own_losses = "bad_gan", "K+1 classes, feature matching, encoder"
    players = ("classifier", "generator", "encoder")

    def __post_init__(self) -> None:
        require_settings(self, "variational", 0)
        super().__post_init__()

    def updates(self, context: ObjectiveContext) -> tuple[Update, ...]:
        """C, E and G, each in every step."""
        classifier, generator = super().updates(context)
        return classifier, Update("encoder", self._encoder_loss, images=context.batch), generator

    def _encoder_loss(self, step: TrainingStep) -> Tensor:
        loss = self._latent_likelihood(step, step.fakes().detached)
        step.log("train/encoder_loss", loss)
        return loss

    def _match(self, step: TrainingStep, real_mean: Tensor, fake: Tensor) -> Tensor:
        likelihood = self._latent_likelihood(step, step.fakes())
        return super()._match(step, real_mean, fake) + self.variational * likelihood

    def _latent_likelihood(self, step: TrainingStep, fakes: Batch) -> Tensor:
        latents = fakes.draws.normal("z", step.network("generator").latent).to(fakes.images.dtype)
        encoder = step.network("encoder")
        with frozen_statistics(encoder):
            return losses.latent_likelihood(latents, *encoder(fakes.images))

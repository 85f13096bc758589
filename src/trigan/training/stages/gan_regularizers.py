"""Further terms of D's and G's losses and changes of what they see: freely combined, ``loss.regularizers=[r1,lecam]``.

Each is a frozen dataclass with its weight; the formulas are in `trigan.losses.regularizers`. A pass is one batch
through D and back, a gradient with its graph costs about two; costs are those of an update in which the term is due.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from trigan import distributed
from trigan.checks import require, require_at_least, require_probability, require_settings
from trigan.component_ids import component
from trigan.datasets.augmentation import crop_flip
from trigan.errors import ConfigError
from trigan.losses import regularizers as losses
from trigan.losses.gan_losses import AdversarialLoss, minimax_discriminator
from trigan.losses.semi_supervised_losses import feature_matching
from trigan.networks.batchnorm import frozen_statistics
from trigan.training.step import Batch, TrainingStep


class DiscriminatorPass(NamedTuple):
    """An update of D: images as D saw them, with their labels and draws, and this process's logits of them.

    ``averages`` are moving averages of the mean real and fake logit, (2,), where a regulariser has ``averages``.
    """

    discriminator: Any
    real: Batch
    fake: Batch
    real_logits: Tensor
    fake_logits: Tensor
    averages: Tensor | None


class GANRegularizer:
    """Base of the regularisers, each of which replaces what it needs.

    Attributes:
        every: it is part of every ``every``-th update of D, with ``every`` times its weight.
        slopes: whose images need a gradient: ``real``, ``fake`` or none; any but none needs a D without batch norm.
        factor: of the term in the loss; the log has the term without it.
        further_images: further batches that D sees in its update.
    """

    every: int = 1
    slopes: ClassVar[str | None] = None

    @property
    def factor(self) -> float:
        """See the class."""
        return float(getattr(self, "weight", 1.0)) * self.every

    @property
    def further_images(self) -> int:
        """See the class."""
        return 0

    def check(self, loss: AdversarialLoss) -> None:
        """Raise a ConfigError for a loss that it does not go together with."""

    def view(self, images: Tensor, batch: Batch, step: TrainingStep) -> Tensor:
        """All images of D, real and generated, (N, C, S, S) -> the same shape."""
        return images

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor | None:
        """A term of D's loss, without ``factor``."""
        return None

    def generator_term(self, step: TrainingStep, real: Callable[[], Tensor], fake: Tensor) -> Tensor | None:
        """A term of G's loss, without ``factor``; ``real()`` and ``fake`` are the images (N, C, S, S) that D sees."""
        return None

    def generator_logits(self, fake: Tensor, step: TrainingStep) -> Tensor:
        """The logits (N,) of the whole batch of which G's loss is taken."""
        return fake


@component("regularizer/gradient_penalty@1")
@dataclass(frozen=True)
class GradientPenalty(GANRegularizer):
    """``weight`` E (||grad D(x_hat)|| - 1)^2; cost: one pass and its gradient.

    ``kind``: ``two_sided`` and ``one_sided`` between real and generated images (1704.00028; 1709.08894), ``dragan``
    around real images (1705.07215).
    """

    weight: float = 10.0
    kind: Literal["two_sided", "one_sided", "dragan"] = "two_sided"
    every: int = 1

    slopes = "between"

    def __post_init__(self) -> None:
        require_settings(self, "weight", 0.0)
        require_at_least("every", self.every, 1)

    def check(self, loss: AdversarialLoss) -> None:
        """See `GANRegularizer`."""
        if loss.gradient_penalty > 0.0:
            raise ConfigError(
                f"loss.regularizers: a gradient penalty beside loss.gradient_penalty={loss.gradient_penalty} would "
                "count twice; set loss.gradient_penalty=0"
            )

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        real, fake, draws = seen.real.images, seen.fake.images.to(seen.real.images.dtype), seen.real.draws
        eps = draws.uniform("penalty", 1, 1, 1).to(real.dtype)
        if self.kind == "dragan":
            noise = draws.uniform("dragan", *real.shape[1:]).to(real.dtype)
            moments = torch.stack([real.detach().mean(), real.detach().square().mean()])
            mean, square = distributed.global_mean(moments)
            real, fake = losses.perturbed(real, noise, (square - mean.square()).clamp_min(0.0).sqrt()), real

        def critic(images: Tensor) -> Tensor:
            logits: Tensor = seen.discriminator(images, seen.real.labels)
            return logits

        return losses.gradient_penalty(critic, real, fake, eps, self.kind == "one_sided")


@component("regularizer/r1@1")
@dataclass(frozen=True)
class R1(GANRegularizer):
    """``weight`` / 2 E ||grad D(x)||^2 on real images (1801.04406); cost: one gradient.

    Lazy with ``every`` > 1 (Karras et al. 2020, 1912.04958, appendix B). The gradient is with respect to the images
    that D sees, after ``discriminator_augmentation``.
    """

    weight: float = 10.0
    every: int = 1

    slopes: ClassVar[str] = "real"

    def __post_init__(self) -> None:
        require_settings(self, "weight", 0.0)
        require_at_least("every", self.every, 1)

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        return losses.zero_centred_penalty(seen.real_logits, seen.real.images)


@component("regularizer/r2@1")
@dataclass(frozen=True)
class R2(R1):
    """R1 on generated images (1801.04406); cost: one gradient."""

    slopes = "fake"

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        return losses.zero_centred_penalty(seen.fake_logits, seen.fake.images)


@component("regularizer/lecam@1")
@dataclass(frozen=True)
class LeCam(GANRegularizer):
    """``weight`` times the distance of logits to moving averages of the other kind (2104.03310); no cost.

    The averages are those before the step, with ``decay`` per update of D; in the first step there is no term. They
    are part of the checkpoint.
    """

    weight: float = 0.1
    decay: float = 0.99

    def __post_init__(self) -> None:
        require_settings(self, "weight", 0.0)
        require_probability("decay", self.decay)

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        assert seen.averages is not None
        mean_real, mean_fake = seen.averages
        return losses.lecam(seen.real_logits, seen.fake_logits, mean_real, mean_fake)


@component("regularizer/consistency@1")
@dataclass(frozen=True)
class Consistency(GANRegularizer):
    """``weight`` E (D(x) - D(T(x)))^2, and ``fake_weight`` times the same on generated images; one pass each.

    CR (Zhang et al. 2020, 1910.12027) without, bCR (Zhao et al. 2021, 2002.04724) with the latter. T shifts by up to
    ``shift`` of the image side, in whole pixels, and mirrors half of the images if ``flip``.
    """

    weight: float = 10.0
    fake_weight: float = 0.0
    shift: float = 0.125
    flip: bool = False

    def __post_init__(self) -> None:
        require_settings(self, "weight fake_weight", 0.0)
        require(0.0 <= self.shift <= 1.0, "shift", self.shift, "in 0..1")
        require(self.shift > 0.0 or self.flip, "shift", self.shift, "above 0, or flip=true: else T changes nothing")

    @property
    def factor(self) -> float:
        """See `GANRegularizer`."""
        return 1.0

    @property
    def further_images(self) -> int:
        """See `GANRegularizer`."""
        return 2 if self.fake_weight > 0.0 else 1

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        term = self.weight * self._distance(seen.discriminator, seen.real, seen.real_logits)
        if self.fake_weight > 0.0:
            term = term + self.fake_weight * self._distance(seen.discriminator, seen.fake, seen.fake_logits)
        return term

    def _distance(self, discriminator: Any, batch: Batch, logits: Tensor) -> Tensor:
        pixels = max(1, round(self.shift * batch.images.shape[-1])) if self.shift else 0
        moved = crop_flip(batch.images.detach(), batch.draws.uniform("consistency", 3), pixels, self.flip)
        with frozen_statistics(discriminator):
            return losses.logit_consistency(logits, discriminator(moved, batch.labels))


@component("regularizer/feature_matching@1")
@dataclass(frozen=True)
class FeatureMatchingTerm(GANRegularizer):
    """``weight`` times the mean squared difference of mean features in D's last map, in G's loss (1606.03498).

    Cost: two passes in an update of G.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        require_settings(self, "weight", 0.0)

    def generator_term(self, step: TrainingStep, real: Callable[[], Tensor], fake: Tensor) -> Tensor:
        """See `GANRegularizer`."""
        discriminator = step.network("discriminator")

        def mean(images: Tensor) -> Tensor:
            *_, last = discriminator.features(images).values()
            return distributed.global_mean(last.flatten(1).mean(0))

        with frozen_statistics(discriminator):
            with torch.no_grad():
                real_mean = mean(real())
            return feature_matching(real_mean, mean(fake))


@component("regularizer/instance_noise@1")
@dataclass(frozen=True)
class InstanceNoise(GANRegularizer):
    """N(0, s) on each value of all images of D, s falling from ``std`` to 0 at ``until`` of the fit; no cost.

    Sønderby et al. 2017 (1610.04490); Arjovsky & Bottou 2017 (1701.04862). In units of [-1, 1].
    """

    std: float = 0.1
    until: float = 1.0

    def __post_init__(self) -> None:
        require_settings(self, "std", 0.0)
        require(0.0 < self.until <= 1.0, "until", self.until, "in (0, 1]")

    def view(self, images: Tensor, batch: Batch, step: TrainingStep) -> Tensor:
        """See `GANRegularizer`."""
        std = step.scheduled(lambda now: self.std * max(0.0, 1.0 - now.progress / self.until))
        noise = batch.draws.normal("instance_noise", *images.shape[1:]).to(images.dtype)
        noisy: Tensor = images + std * noise
        return noisy


@component("regularizer/label_smoothing@1")
@dataclass(frozen=True)
class LabelSmoothing(GANRegularizer):
    """The target of real images is 1 - ``smoothing`` (1606.03498, section 3.4), for D's minimax loss; no cost."""

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        require(0.0 <= self.smoothing < 0.5, "smoothing", self.smoothing, "in [0, 0.5)")

    def check(self, loss: AdversarialLoss) -> None:
        """See `GANRegularizer`."""
        if loss.discriminator_loss is not minimax_discriminator:
            raise ConfigError(
                "loss.regularizers=label_smoothing needs a loss with targets: set loss=non_saturating or minimax"
            )

    def discriminator_term(self, seen: DiscriminatorPass) -> Tensor:
        """See `GANRegularizer`."""
        return losses.label_smoothing(seen.real_logits, self.smoothing)


@component("regularizer/top_k@1")
@dataclass(frozen=True)
class TopK(GANRegularizer):
    """G's loss of the generated images with the largest logits only (Sinha et al. 2020, 2002.06224); no cost.

    Their share falls linearly from 1 to ``share`` at ``until`` of the fit (in the paper by 1 % an epoch, to 1/2).
    """

    share: float = 0.5
    until: float = 0.5

    def __post_init__(self) -> None:
        require(0.0 < self.share <= 1.0, "share", self.share, "in (0, 1]")
        require(0.0 < self.until <= 1.0, "until", self.until, "in (0, 1]")

    def check(self, loss: AdversarialLoss) -> None:
        """See `GANRegularizer`."""
        if loss.pairs:
            raise ConfigError(
                "loss.regularizers=top_k takes logits of single images, and this loss compares pairs; set "
                "loss=non_saturating, hinge or another"
            )

    def generator_logits(self, fake: Tensor, step: TrainingStep) -> Tensor:
        """See `GANRegularizer`."""
        return losses.top_k(fake, step.decided(lambda now: self._kept(now.progress, len(fake))))

    def _kept(self, progress: float, images: int) -> int:
        return math.ceil(images * (1.0 - (1.0 - self.share) * min(1.0, progress / self.until)))

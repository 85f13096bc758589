"""Terms of a classifier's loss on further images."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation
from trigan.losses.semi_supervised_losses import fixmatch_loss, pi_model_loss, sigmoid_ramp_up
from trigan.networks.batchnorm import auxiliary_batch_norm, frozen_statistics
from trigan.rng import Draws
from trigan.training.adversary import Adversary
from trigan.training.recipe import Recipe
from trigan.training.step import TrainingStep

#: How the weight of a term falls over the fit.
Annealing = Literal["none", "linear", "cosine"]


@dataclass(frozen=True)
class FitData:
    """What the state of a term depends on.

    Attributes:
        classes: K.
        images: images of the term's stream.
        batch: labelled images of a step.
        network: C before the fit.
    """

    classes: int
    images: int
    batch: int
    network: nn.Module

    def zeros(self, *shape: int) -> Tensor:
        """Zeros in the precision and on the device of C's weights."""
        return next(self.network.parameters()).detach().new_zeros(shape)


@dataclass(frozen=True)
class TermInFit:
    """A term in one fit: its weighted loss, (), of a step and C, and its state, which belongs into checkpoints."""

    loss: Callable[[TrainingStep, nn.Module], Tensor]
    memory: nn.Module | None = None

    @property
    def memories(self) -> list[nn.Module]:
        """The state, or nothing."""
        return [] if self.memory is None else [self.memory]


class LossTerm(ABC):
    """Base of additional terms of C's loss: ``views`` views of ``ratio`` images of ``stream`` per labelled image.

    A term of which ``replaces_labelled`` is true has the loss of labelled images in it.
    """

    weight: float
    ratio: float
    stream: str
    views: ClassVar[int] = 2
    replaces_labelled: ClassVar[bool] = False

    @abstractmethod
    def in_fit(self, data: FitData) -> TermInFit:
        """The term at the first step of a fit."""

    def conflict(self, recipe: Recipe) -> str | None:
        """What of C's recipe the term does not go with, and the mend; None: all of it goes."""
        return None

    def stream_batch_size(self, batch: int) -> int:
        """Images of the stream in each step, at least two, for ``batch`` labelled ones."""
        return max(2, round(self.ratio * batch))

    def forward_images(self, batch: int) -> int:
        """Images that pass through C in each step."""
        return self.views * self.stream_batch_size(batch)

    def active(self, progress: float) -> bool:
        """Whether the term is part of a step that starts after share ``progress`` of the fit."""
        return True

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(self.ratio > 0, "ratio", self.ratio, "above 0")


class StatelessTerm(LossTerm):
    """Base of terms that are functions of the step and C."""

    def in_fit(self, data: FitData) -> TermInFit:
        """See `LossTerm.in_fit`."""
        return TermInFit(self)

    @abstractmethod
    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""


@dataclass(frozen=True)
class WeakAndStrong(LossTerm):
    """Base of terms in which C's predictions on a ``weak`` view are targets for those on a ``strong`` view."""

    weak: Augmentation
    strong: Augmentation
    weight: float = field(default=1.0, kw_only=True)
    ratio: int = field(default=2, kw_only=True)
    stream: str = field(default="unlabelled", kw_only=True)

    def logits(self, step: TrainingStep, network: nn.Module) -> tuple[Tensor, Tensor]:
        """C's logits (n, K) of both views; those of the weak one have no gradient and move no statistics."""
        unlabelled = step.batch(self.stream)
        with torch.no_grad(), frozen_statistics(network):
            weak = network(unlabelled.augmented(self.weak, "weak"))
        return weak, network(unlabelled.augmented(self.strong, "strong"))

    def weighted(self, step: TrainingStep, loss: Tensor, weights: Tensor) -> Tensor:
        """``weight`` times the loss, (), both logged; ``weights`` are those of the images, (n,)."""
        step.log("train/consistency_loss", loss)
        step.log("train/mask_ratio", weights.float().mean())
        return self.weight * loss


@component("criterion/extra_images@1")
@dataclass(frozen=True)
class ExtraImages(StatelessTerm):
    """Cross-entropy on extra labelled images (synthetic or pseudo-labelled), times ``weight``.

    Labels are classes (n,) or probabilities (n, K). Batch norm normalises the images by separate batch statistics, and
    they do not update its running statistics; with ``separate_batch_norm`` it has an auxiliary weight and bias for
    them, too (AdvProp, Xie et al. 2020, arXiv 1911.09665). The weight is constant or falls to 0 at the share ``until``
    of the fit, as ``annealing`` says; after it the images are not used. An ``adversary`` attacks them as it does the
    labelled ones.
    """

    augmentation: Augmentation
    weight: float = 1.0
    ratio: float = 1.0
    stream: str = "extra"
    until: float = 1.0
    annealing: Annealing = "none"
    separate_batch_norm: bool = False
    adversary: Adversary | None = None

    views = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 < self.until <= 1.0, "until", self.until, "a share in (0, 1]")
        require(self.annealing in get_args(Annealing), "annealing", self.annealing, "none, linear or cosine")

    def active(self, progress: float) -> bool:
        """See `LossTerm.active`."""
        return progress < self.until

    def weight_at(self, progress: float) -> float:
        """The weight in a step that starts after share ``progress`` of the fit."""
        share = min(1.0, progress / self.until)
        factors = {"none": 1.0, "linear": 1.0 - share, "cosine": 0.5 * (1.0 + math.cos(math.pi * share))}
        return self.weight * factors[self.annealing]

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""
        extra, labels = step.batch(self.stream), step.batch(self.stream).known_labels
        auxiliary = auxiliary_batch_norm(network) if self.separate_batch_norm else nullcontext()
        with frozen_statistics(network), auxiliary:
            images = extra.augmented(self.augmentation, "augment")
            if self.adversary is None:
                loss = _cross_entropy(network(images), labels)
            else:
                by_image = partial(_cross_entropy, labels=labels, reduction="none")
                loss = self.adversary(network, images, by_image, extra.draws)[1].mean()
        step.log("train/extra_loss", loss)
        weighted: Tensor = step.scheduled(lambda now: self.weight_at(now.progress)) * loss
        return weighted


def _cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """For classes (n,) or probabilities (n, K)."""
    targets = labels.to(logits.dtype) if labels.is_floating_point() else labels
    return F.cross_entropy(logits, targets, reduction=reduction)


@component("criterion/fixmatch@1")
@dataclass(frozen=True)
class FixMatch(WeakAndStrong, StatelessTerm):
    """FixMatch (Sohn et al. 2020, arXiv 2001.07685, eq. 4), with p the probabilities of C.

    ``weight`` E 1[max p(weak x_u) >= ``threshold``] CE(C(strong x_u), argmax p(weak x_u)).
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "in [0, 1)")

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""
        weak, strong = self.logits(step, network)
        loss = fixmatch_loss(weak, strong, self.threshold)
        return self.weighted(step, loss, weak.softmax(1).amax(1) >= self.threshold)


@component("criterion/pi_model@1")
@dataclass(frozen=True)
class PiModel(StatelessTerm):
    """The Pi-model (Laine & Aila 2017, arXiv 1610.02242, algorithm 1): equal outputs for two views of an image.

    ``weight`` w(t) E |p(x_u) - p(x_u')|^2 / K, with p the probabilities of C and w a sigmoid ramp-up over the first
    share ``ramp_up`` of the fit. The paper's weight is 100 times the share of images that are labelled, and its ramp-up
    80 of 300 epochs.
    """

    augmentation: Augmentation
    weight: float = 10.0
    ramp_up: float = 0.27
    ratio: int = 1
    stream: str = "unlabelled"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 < self.ramp_up <= 1.0, "ramp_up", self.ramp_up, "in (0, 1]")
        require_random("augmentation", self.augmentation)

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        """The weighted term, shape ()."""
        unlabelled = step.batch(self.stream)
        one, other = (network(unlabelled.augmented(self.augmentation, name)) for name in ("one", "other"))
        loss = pi_model_loss(one, other)
        step.log("train/consistency_loss", loss)
        weighted: Tensor = step.scheduled(lambda now: self.weight * sigmoid_ramp_up(now.progress / self.ramp_up)) * loss
        return weighted


def require_random(setting: str, augmentation: Augmentation) -> None:
    """Require an augmentation that makes two views of the same images differ."""
    images, draws = torch.linspace(-1.0, 1.0, 8 * 64).view(8, 1, 8, 8), Draws(0, 0, 8, 0, 8)
    same = torch.equal(augmentation(images, draws, "one"), augmentation(images, draws, "other"))
    require(not same, setting, augmentation, "an augmentation that changes images: otherwise both views are the same")

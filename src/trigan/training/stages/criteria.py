"""What a classifier's fit is made of: how labelled images are drawn, how errors count, and terms on further images."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.components import component
from trigan.data.augmentation import Augmentation
from trigan.losses.classifier_losses import fixmatch_loss, pi_model_loss, sigmoid_ramp_up
from trigan.networks.batchnorm import frozen_statistics
from trigan.rng import Draws
from trigan.training.range_checks import require
from trigan.training.step import TrainingStep


def class_counts(labels: Tensor, classes: int) -> Tensor:
    """Images per class, int64 (K,)."""
    return torch.bincount(labels, minlength=classes)


class Balance(Protocol):
    """What is done about unequal class sizes."""

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """Chance of each image to be drawn, up to a factor (N,); None: every image once an epoch."""
        ...

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """Factor on each class's cross-entropy (K,); None: all 1."""
        ...


@component("balance/none@1")
@dataclass(frozen=True)
class NoBalance:
    """Images as they come, every error alike."""

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        return None

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        return None


@component("balance/class_weights@1")
@dataclass(frozen=True)
class ClassWeights:
    """Each class's errors count in inverse proportion to its size: N / (K n_k)."""

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        return None

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        counts = class_counts(labels, classes).clamp(min=1)
        return len(labels) / (classes * counts.float())


@component("balance/resampling@1")
@dataclass(frozen=True)
class Resampling:
    """Random oversampling: classes are drawn equally often, images within a class likewise."""

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        return 1.0 / class_counts(labels, classes)[labels].float()

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        return None


class LossTerm(Protocol):
    """A further summand of C's loss, fed by the input named ``stream``."""

    @property
    def stream(self) -> str: ...

    def stream_batch_size(self, batch: int) -> int:
        """Images of the stream in each step, for ``batch`` labelled ones."""
        ...

    def forward_images(self, batch: int) -> int:
        """Images that pass through C in each step."""
        ...

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor: ...


@component("criterion/extra_images@1")
@dataclass(frozen=True)
class ExtraImages:
    """Cross-entropy on extra labelled images (synthetic or pseudo-labelled), times ``weight``.

    They pass through C on their own, with their own batch statistics, and do not move its running statistics.
    ``ratio``: extra images per labelled one in each step, of which there are two at least.
    """

    augmentation: Augmentation
    weight: float = 1.0
    ratio: float = 1.0
    stream: str = "extra"

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(self.ratio > 0.0, "ratio", self.ratio, "above 0")

    def stream_batch_size(self, batch: int) -> int:
        return max(2, round(self.ratio * batch))

    def forward_images(self, batch: int) -> int:
        return self.stream_batch_size(batch)

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        extra = step.batch(self.stream)
        with frozen_statistics(network):
            logits = network(self.augmentation(extra.images, extra.draws, "augment"))
        loss = F.cross_entropy(logits, extra.known_labels)
        step.log("train/extra_loss", loss)
        return self.weight * loss


@component("criterion/fixmatch@1")
@dataclass(frozen=True)
class FixMatch:
    """FixMatch (Sohn et al. 2020, arXiv 2001.07685, eq. 4): a weak view's label, where sure, for a strong view."""

    weak: Augmentation
    strong: Augmentation
    threshold: float = 0.95
    weight: float = 1.0
    ratio: int = 2
    stream: str = "unlabelled"

    def __post_init__(self) -> None:
        require(0.0 <= self.threshold < 1.0, "threshold", self.threshold, "in [0, 1)")
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(self.ratio >= 1, "ratio", self.ratio, "at least 1")

    def stream_batch_size(self, batch: int) -> int:
        return self.ratio * batch

    def forward_images(self, batch: int) -> int:
        return 2 * self.ratio * batch

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        unlabelled = step.batch(self.stream)
        with torch.no_grad(), frozen_statistics(network):
            weak = network(self.weak(unlabelled.images, unlabelled.draws, "weak"))
        strong = network(self.strong(unlabelled.images, unlabelled.draws, "strong"))
        loss = fixmatch_loss(weak, strong, self.threshold)
        step.log("train/consistency_loss", loss)
        step.log("train/mask_ratio", (weak.softmax(1).amax(1) >= self.threshold).float().mean())
        return self.weight * loss


@component("criterion/pi_model@1")
@dataclass(frozen=True)
class PiModel:
    """The Pi-model (Laine & Aila 2017, arXiv 1610.02242): C should answer alike to two views of an unlabelled image.

    ``weight`` comes in over the first ``ramp_up`` of the fit, by :func:`sigmoid_ramp_up`. The paper's is
    100 times the share of images that are labelled, and its ramp 80 of 300 epochs.
    """

    augmentation: Augmentation
    weight: float = 10.0
    ramp_up: float = 0.27
    ratio: int = 1
    stream: str = "unlabelled"

    def __post_init__(self) -> None:
        require(self.weight >= 0.0, "weight", self.weight, "at least 0")
        require(0.0 < self.ramp_up <= 1.0, "ramp_up", self.ramp_up, "in (0, 1]")
        require(self.ratio >= 1, "ratio", self.ratio, "at least 1")
        require(
            _varies(self.augmentation),
            "augmentation",
            self.augmentation,
            "an augmentation that changes images: two views would be one",
        )

    def stream_batch_size(self, batch: int) -> int:
        return self.ratio * batch

    def forward_images(self, batch: int) -> int:
        return 2 * self.ratio * batch

    def __call__(self, step: TrainingStep, network: nn.Module) -> Tensor:
        unlabelled = step.batch(self.stream)
        one, other = (
            network(self.augmentation(unlabelled.images, unlabelled.draws, name)) for name in ("one", "other")
        )
        loss = pi_model_loss(one, other)
        step.log("train/consistency_loss", loss)
        return self.weight * sigmoid_ramp_up(step.progress / self.ramp_up) * loss


def _varies(view: Augmentation) -> bool:
    """Whether two looks at the same images differ."""
    images = torch.linspace(-1.0, 1.0, 8 * 64).view(8, 1, 8, 8)
    draws = Draws(0, 0, 8, 0, 8)
    return not torch.equal(view(images, draws, "one"), view(images, draws, "other"))

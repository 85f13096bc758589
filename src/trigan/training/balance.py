"""Treatment of unequal class sizes in C's labelled batches: by sampling, by weights, or by leaving images out.

Notation: n_k are the labelled images of class k, N is their sum, K the number of classes.
"""

from bisect import bisect_left
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.checks import require_probability
from trigan.component_ids import component
from trigan.rng import permutation


def class_counts(labels: Tensor, classes: int) -> Tensor:
    """Images per class, int64 (K,)."""
    return torch.bincount(labels, minlength=classes)


def mean_recall(logits: Tensor, labels: Tensor) -> float:
    """Mean recall of the classes that have images: logits (N, K), labels (N,)."""
    hits, present = (logits.argmax(1) == labels).double(), class_counts(labels, logits.shape[1])
    recalls = torch.zeros(logits.shape[1], dtype=torch.float64).index_add(0, labels, hits)
    return float((recalls / present)[present > 0].mean())


@component("balance/none@1")
@dataclass(frozen=True)
class Balance:
    """How unequal class sizes are treated; in this base class not at all: every image counts once, with weight 1."""

    @property
    def first_share(self) -> float:
        """The share of the fit, in [0, 1), after which the treatment begins."""
        return 0.0

    def first_step(self, steps: int) -> int:
        """The first of ``steps`` steps with the treatment."""
        return bisect_left(range(steps), self.first_share, key=lambda index: index / steps)

    def kept(self, labels: Tensor, classes: int, seed: int) -> Tensor | None:
        """The images (n,) that C is trained on, in their order; None: all."""
        return None

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """Relative probability of each image to be drawn, (N,); None: every image once an epoch."""
        return None

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """Factor on the loss of each class, (K,); None: all 1."""
        return None


@dataclass(frozen=True)
class Deferred(Balance):
    """Base of treatments that may begin late (deferred re-weighting: Cao et al. 2019, 1906.07413, section 3.3).

    Attributes:
        start: share of the fit before which images have weight 1 and are drawn once an epoch.
    """

    start: float = 0.0

    def __post_init__(self) -> None:
        require_probability("start", self.start)

    @property
    def first_share(self) -> float:
        """See `Balance.first_share`."""
        return self.start


@component("balance/class_weights@1")
@dataclass(frozen=True)
class ClassWeights(Deferred):
    """Weights in inverse proportion to class sizes."""

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """N / (K n_k)."""
        counts = class_counts(labels, classes).clamp(min=1)
        return len(labels) / (classes * counts.float())


@component("balance/effective_number@1")
@dataclass(frozen=True)
class EffectiveNumber(Deferred):
    """Weights in inverse proportion to the effective number of images (Cui et al. 2019, 1901.05555, section 4).

    Attributes:
        beta: 0: all weights are 1; towards 1: in inverse proportion to class sizes.
    """

    beta: float = 0.9999

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability("beta", self.beta)

    def class_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """(1 - beta) / (1 - beta^n_k), scaled to a sum of K over the classes that have images."""
        counts = class_counts(labels, classes)
        powers = self.beta ** counts.clamp(min=1).double()
        weights = (1.0 - self.beta) / (1.0 - powers)
        present = counts > 0
        return (weights * (present.sum() / weights[present].sum())).float()


@component("balance/resampling@1")
@dataclass(frozen=True)
class Resampling(Deferred):
    """Random oversampling: classes are drawn equally often, and so are the images of a class.

    In the terms of Kang et al. 2019 (1910.09217, section 3.1): class-balanced sampling.
    """

    def sampling_weights(self, labels: Tensor, classes: int) -> Tensor | None:
        """1 / n_k for an image of class k."""
        return 1.0 / class_counts(labels, classes)[labels].float()


@component("balance/undersampling@1")
@dataclass(frozen=True)
class Undersampling(Balance):
    """Random undersampling: of every class as many images as the smallest one has, chosen once for the fit."""

    def kept(self, labels: Tensor, classes: int, seed: int) -> Tensor | None:
        """See `Balance.kept`."""
        counts = class_counts(labels, classes)
        least, chosen = int(counts[counts > 0].min()), []
        for label in range(classes):
            rows = (labels == label).nonzero().squeeze(1)
            chosen.append(rows[permutation(len(rows), seed, "undersampling", label)[:least]])
        return torch.cat(chosen).sort().values

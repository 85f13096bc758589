"""Filters: which candidates of a sample set are kept."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.datasets.inputs import Input, network_batches


class Filter(ABC):
    """Selects candidates by their images and labels; a frozen dataclass.

    ``min_candidates`` are filtered at once, if the source has so many; ``required_networks`` names the networks that
    must be among the scoring models.
    """

    min_candidates: int = 1
    required_networks: tuple[str, ...] = ("classifier",)

    @abstractmethod
    def keep(self, images: Tensor, labels: Tensor, scoring_models: "ScoringModels") -> Tensor:
        """Bool (N,) for uint8 ``images`` (N, C, S, S) with ``labels`` (N,)."""


@dataclass(frozen=True)
class ScoringModels:
    """The models a filter may use, in evaluation mode, as far as some filter requires them.

    ``classifier`` is the teacher, a C trained on L or on L and U, ``second`` the same with another seed, ``labelled``
    is L itself; a GAN without D has no ``discriminator``.
    """

    classifier: nn.Module | None = None
    discriminator: nn.Module | None = None
    second: nn.Module | None = None
    labelled: Input | None = None
    _cache: dict[object, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def teacher(self) -> nn.Module:
        """The classifier."""
        if self.classifier is None:
            raise ValueError("these scoring models have no classifier")
        return self.classifier

    @cached_property
    def real_features(self) -> tuple[Tensor, Tensor]:
        """Inputs of C's last layer for the labelled images, float (N, F), and their labels (N,)."""
        if self.labelled is None:
            raise ValueError("these scoring models have no labelled images")
        return self.embed(self.labelled.images), self.labelled.known_labels

    def cached(self, key: object, compute: Callable[[], Tensor]) -> Tensor:
        """``compute()``, once for equal keys: candidates come in many portions."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def embed(self, images: Tensor) -> Tensor:
        """Inputs of C's last layer for uint8 images, float (N, F)."""
        return outputs(self.teacher, images, embed=True)


@component("filter/confidence@1")
@dataclass(frozen=True)
class ConfidenceFilter(Filter):
    """Keep samples whose label has a probability of at least ``threshold`` under the teacher."""

    threshold: float = 0.8

    def __post_init__(self) -> None:
        require(0.0 <= self.threshold <= 1.0, "threshold", self.threshold, "a probability in [0, 1]")

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        probabilities = outputs(scoring_models.teacher, images).softmax(1)
        return probabilities.gather(1, labels[:, None]).squeeze(1) >= self.threshold


@dataclass(frozen=True)
class TopFraction(Filter):
    """Keeps the ``keep_fraction`` of each class with the highest scores.

    ``min_candidates`` of all classes are filtered at once; of a few, the fraction would be one of each class.
    """

    keep_fraction: float = 0.5
    min_candidates: int = 1000

    def __post_init__(self) -> None:
        require(0.0 < self.keep_fraction <= 1.0, "keep_fraction", self.keep_fraction, "a fraction in (0, 1]")
        require_at_least("min_candidates", self.min_candidates, 1)

    def best_of_each_class(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Bool (N,) for scores (N,) and labels (N,): at least one row of each class; earlier rows win ties."""
        kept = torch.zeros(len(labels), dtype=torch.bool)
        for label in set(labels.tolist()):
            rows = (labels == label).nonzero().squeeze(1)
            best = scores[rows].argsort(descending=True, stable=True)[: max(1, round(self.keep_fraction * len(rows)))]
            kept[rows[best]] = True
        return kept


@component("filter/class_quantile@1")
@dataclass(frozen=True)
class ClassQuantileFilter(TopFraction):
    """Keep the samples of each class to whose label the teacher gives the highest probabilities.

    The threshold is a quantile within the class: a class on which the teacher is less certain keeps the same fraction.
    """

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        probabilities = outputs(scoring_models.teacher, images).softmax(1)
        return self.best_of_each_class(probabilities.gather(1, labels[:, None]).squeeze(1), labels)


@component("filter/discriminator@1")
@dataclass(frozen=True)
class DiscriminatorFilter(TopFraction):
    """Keep the samples of each class with the highest D logit (without D: everything)."""

    required_networks = ("discriminator",)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        if scoring_models.discriminator is None:
            return torch.ones(len(images), dtype=torch.bool)
        return self.best_of_each_class(outputs(scoring_models.discriminator, images, labels), labels)


@component("filter/agreement@1")
@dataclass(frozen=True)
class AgreementFilter(Filter):
    """Keep samples whose label is predicted by two teachers, trained from different seeds."""

    required_networks = ("classifier", "second")

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        if scoring_models.second is None:
            raise ValueError("agreement needs a second classifier among the scoring models")
        first, second = (outputs(c, images).argmax(1) for c in (scoring_models.teacher, scoring_models.second))
        return (first == labels) & (second == labels)


@component("filter/density@1")
@dataclass(frozen=True)
class DensityFilter(TopFraction):
    """Keep the samples of each class with the highest density of real labelled images.

    The k-nearest-neighbour density (Loftsgaarden & Quesenberry 1965) decreases with the distance to the k-th nearest
    real image of the class, between inputs of C's last layer; a class of fewer than ``neighbours`` real images
    uses all of them.
    """

    neighbours: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("neighbours", self.neighbours, 1)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        features, (real, real_labels) = scoring_models.embed(images), scoring_models.real_features
        scores = torch.full((len(images),), -torch.inf, dtype=torch.float64)
        for label in set(labels.tolist()):
            rows, members = labels == label, real[real_labels == label]
            if len(members):
                distances = _distances(features[rows], members)
                scores[rows] = -distances.kthvalue(min(self.neighbours, len(members)), dim=1).values
        return self.best_of_each_class(scores, labels) & (scores > -torch.inf)


@component("filter/manifold@1")
@dataclass(frozen=True)
class ManifoldFilter(Filter):
    """Keep samples inside the ball of at least one real image of their class.

    The radius is the distance to the real image's k-th nearest neighbour among the others, here of its own class: NND_k
    of Naeem et al. 2020 (arXiv 2002.09797). A class of k real images or fewer uses the farthest of them; a single real
    image has no ball, so nothing of its class is kept.
    """

    neighbours: int = 5

    def __post_init__(self) -> None:
        require_at_least("neighbours", self.neighbours, 1)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `Filter.keep`."""
        features, (real, real_labels) = scoring_models.embed(images), scoring_models.real_features
        radii = scoring_models.cached(self, lambda: _radii(real, real_labels, self.neighbours))
        radii = radii * (1.0 + 1e-6)  # the ball is closed, despite rounding
        kept = torch.zeros(len(images), dtype=torch.bool)
        for label in set(labels.tolist()):
            rows, members = labels == label, real_labels == label
            kept[rows] = (_distances(features[rows], real[members]) <= radii[members]).any(1)
        return kept


def required_networks(filters: Sequence[Filter]) -> frozenset[str]:
    """Names of all networks that the filters need among the scoring models."""
    return frozenset(name for criterion in filters for name in criterion.required_networks)


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor, labels: Tensor | None = None, embed: bool = False) -> Tensor:
    """Outputs for uint8 images, and ``labels`` if given, as float on the CPU; with ``embed`` those of ``.embed``."""
    forward: Any = network.embed if embed else network
    results, start = [], 0
    for batch in network_batches(network, images):
        extra = () if labels is None else (labels[start : start + len(batch)].to(batch.device),)
        results.append(forward(batch, *extra).float().cpu())
        start += len(batch)
    return torch.cat(results)


def _radii(real: Tensor, labels: Tensor, neighbours: int) -> Tensor:
    """Radius of the ball of each real image, (N,); negative for the only image of a class."""
    radii = torch.full((len(real),), -1.0, dtype=torch.float64)
    for label in set(labels.tolist()):
        members = labels == label
        others = int(members.sum()) - 1
        if others:
            distances = _distances(real[members], real[members])
            # the nearest of all is the image itself
            radii[members] = distances.kthvalue(min(neighbours, others) + 1, dim=1).values
    return radii


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows (N, F) and (M, F), by |a - b|^2 = |a|^2 - 2ab + |b|^2.

    In double precision and centred on the mean of b, to limit cancellation. The matrix product is fast, and its FLOPs
    are counted.
    """
    centre = b.double().mean(0)
    a, b = a.double() - centre, b.double() - centre
    squares = a.square().sum(1)[:, None] - 2.0 * a @ b.T + b.square().sum(1)
    return squares.clamp(min=0.0).sqrt()

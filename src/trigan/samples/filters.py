"""Filters: which candidates of a sample set are kept, in the order in which they come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.data.inputs import Input, image_batches
from trigan.errors import ConfigError
from trigan.networks.classifiers.classifier import EmbeddingNetwork


class Filter(Protocol):
    """Which candidates are kept, out of ``min_candidates`` or more at a time, if there are so many.

    ``required_networks``: the networks among its scoring models that it needs, by their names.
    """

    @property
    def min_candidates(self) -> int: ...

    @property
    def required_networks(self) -> tuple[str, ...]: ...

    def keep(self, images: Tensor, labels: Tensor, scoring_models: "ScoringModels") -> Tensor:
        """Bool (N,) for uint8 ``images`` (N, C, S, S) with ``labels`` (N,)."""
        ...


@dataclass(frozen=True)
class ScoringModels:
    """Whom a filter may ask: C trained on L; D, where there is one; a second C of another seed; and L itself.

    Networks are in evaluation mode. All but D are there if somebody asks for them.
    """

    classifier: nn.Module | None = None
    discriminator: nn.Module | None = None
    second: nn.Module | None = None
    labelled: Input | None = None

    @property
    def teacher(self) -> nn.Module:
        """The classifier trained on L."""
        if self.classifier is None:
            raise ValueError("these scoring models have no classifier")
        return self.classifier

    @cached_property
    def real_features(self) -> tuple[Tensor, Tensor]:
        """What C's last layer sees of the labelled images, float (N, F), and their labels (N,)."""
        if self.labelled is None:
            raise ValueError("these scoring models know no labelled images")
        return self.embed(self.labelled.images), self.labelled.known_labels

    @cached_property
    def _known(self) -> dict[object, Tensor]:
        return {}

    def cached(self, asker: object, work: Callable[[], Tensor]) -> Tensor:
        """What ``work`` gives, done for the first of equal askers and kept: candidates come in many portions."""
        if asker not in self._known:
            self._known[asker] = work()
        return self._known[asker]

    def embed(self, images: Tensor) -> Tensor:
        """What C's last layer sees of uint8 images, float (N, F)."""
        return outputs(EmbeddingNetwork(self.teacher), images)


@component("filter/confidence@1")
@dataclass(frozen=True)
class ConfidenceFilter:
    """Keep what C, trained on L, takes for the sample's label with a probability of at least ``threshold``."""

    threshold: float = 0.8

    min_candidates, required_networks = 1, ("classifier",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold: {self.threshold} must be in [0, 1]")

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        probabilities = outputs(scoring_models.teacher, images).softmax(1)
        return probabilities.gather(1, labels[:, None]).squeeze(1) >= self.threshold


@component("filter/discriminator@1")
@dataclass(frozen=True)
class DiscriminatorFilter:
    """Keep the ``keep_fraction`` of the candidates of each class whose D logit is highest (no D: everything).

    ``min_candidates``: of so many candidates, of all classes, at least; a share of a few would be one of each class.
    """

    keep_fraction: float = 0.5
    min_candidates: int = 1000

    required_networks = ("discriminator",)

    def __post_init__(self) -> None:
        require_fraction_and_candidates(self.keep_fraction, self.min_candidates)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        if scoring_models.discriminator is None:
            return torch.ones(len(images), dtype=torch.bool)
        return top_fraction_per_class(outputs(scoring_models.discriminator, images, labels), labels, self.keep_fraction)


@component("filter/agreement@1")
@dataclass(frozen=True)
class AgreementFilter:
    """Keep what two classifiers, trained on L from different seeds, both take for the sample's label."""

    min_candidates, required_networks = 1, ("classifier", "second")

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        if scoring_models.second is None:
            raise ValueError("agreement needs a second classifier among the scoring models")
        first, second = (
            outputs(network, images).argmax(1) for network in (scoring_models.teacher, scoring_models.second)
        )
        return (first == labels) & (second == labels)


def require_fraction_and_candidates(keep_fraction: float, min_candidates: int) -> None:
    """Raise a :class:`ConfigError` unless ``keep_fraction`` is in (0, 1] and ``min_candidates`` at least 1."""
    if not 0.0 < keep_fraction <= 1.0:
        raise ConfigError(f"keep_fraction: {keep_fraction} must be in (0, 1]")
    if min_candidates < 1:
        raise ConfigError(f"min_candidates: {min_candidates} must be 1 or more")


def required_networks(filters: Sequence[Filter]) -> frozenset[str]:
    """The networks that the filters need, by their names among the scoring models."""
    return frozenset(name for one in filters for name in one.required_networks)


def top_fraction_per_class(scores: Tensor, labels: Tensor, keep_fraction: float) -> Tensor:
    """Bool (N,): the ``keep_fraction`` of each label's rows that score highest, at least one; earlier rows win ties."""
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        best = scores[rows].argsort(descending=True, stable=True)[: max(1, round(keep_fraction * len(rows)))]
        kept[rows[best]] = True
    return kept


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """The network's outputs on uint8 images, on the CPU; ``labels`` go along where they are given."""
    # nearest neighbours of pixels have buffers only
    parameter = next(value for value in chain(network.parameters(), network.buffers()) if value.is_floating_point())
    results, start = [], 0
    for batch in image_batches(images, parameter.device, parameter.dtype):
        if labels is None:
            results.append(network(batch).float().cpu())
        else:
            results.append(network(batch, labels[start : start + len(batch)].to(parameter.device)).float().cpu())
        start += len(batch)
    return torch.cat(results)

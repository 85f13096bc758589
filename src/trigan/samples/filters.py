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
from trigan.networks.classifiers.classifier import Embedding


class Filter(Protocol):
    """Says of each candidate whether it is kept, from a portion of ``among`` candidates or more, if there are so many.

    ``asks``: the networks among its judges that it needs, by their names.
    """

    @property
    def among(self) -> int: ...

    @property
    def asks(self) -> tuple[str, ...]: ...

    def keep(self, images: Tensor, labels: Tensor, judges: "Judges") -> Tensor:
        """Bool (N,) for uint8 ``images`` (N, C, S, S) with ``labels`` (N,)."""
        ...


@dataclass(frozen=True)
class Judges:
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
            raise ValueError("these judges have no classifier")
        return self.classifier

    @cached_property
    def real(self) -> tuple[Tensor, Tensor]:
        """What C's last layer sees of the labelled images, float (N, F), and their labels (N,)."""
        if self.labelled is None:
            raise ValueError("these judges know no labelled images")
        return self.embed(self.labelled.images), self.labelled.known_labels

    @cached_property
    def _known(self) -> dict[object, Tensor]:
        return {}

    def once(self, asker: object, work: Callable[[], Tensor]) -> Tensor:
        """What ``work`` gives, done for the first of equal askers and kept: candidates come in many portions."""
        if asker not in self._known:
            self._known[asker] = work()
        return self._known[asker]

    def embed(self, images: Tensor) -> Tensor:
        """What C's last layer sees of uint8 images, float (N, F)."""
        return outputs(Embedding(self.teacher), images)


@component("filter/confidence@1")
@dataclass(frozen=True)
class Confidence:
    """Keep what C, trained on L, takes for the sample's label with a probability of at least ``threshold``."""

    threshold: float = 0.8

    among, asks = 1, ("classifier",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"threshold: {self.threshold} must be in [0, 1]")

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        probabilities = outputs(judges.teacher, images).softmax(1)
        return probabilities.gather(1, labels[:, None]).squeeze(1) >= self.threshold


@component("filter/realism@1")
@dataclass(frozen=True)
class Realism:
    """Keep the ``share`` of the candidates of each class whose D logit is highest (no D: everything).

    ``among``: of so many candidates, of all classes, at least; a share of a few would be one of each class.
    """

    share: float = 0.5
    among: int = 1000

    asks = ("discriminator",)

    def __post_init__(self) -> None:
        require_share_among(self.share, self.among)

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        if judges.discriminator is None:
            return torch.ones(len(images), dtype=torch.bool)
        return best_of_each(outputs(judges.discriminator, images, labels), labels, self.share)


@component("filter/agreement@1")
@dataclass(frozen=True)
class Agreement:
    """Keep what two classifiers, trained on L from different seeds, both take for the sample's label."""

    among, asks = 1, ("classifier", "second")

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        if judges.second is None:
            raise ValueError("agreement needs a second classifier among the judges")
        first, second = (outputs(network, images).argmax(1) for network in (judges.teacher, judges.second))
        return (first == labels) & (second == labels)


def require_share_among(share: float, among: int) -> None:
    """Raise a :class:`ConfigError` unless ``share`` is one that may be kept, of ``among`` candidates."""
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"share: {share} must be in (0, 1]")
    if among < 1:
        raise ConfigError(f"among: {among} must be 1 or more")


def asked(filters: Sequence[Filter]) -> frozenset[str]:
    """The networks that one filter or more asks, by their names among the judges."""
    return frozenset(name for one in filters for name in one.asks)


def best_of_each(scores: Tensor, labels: Tensor, share: float) -> Tensor:
    """Bool (N,): of each label's rows the ``share`` of highest score, one at least; of equal ones, the earlier."""
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        best = scores[rows].argsort(descending=True, stable=True)[: max(1, round(share * len(rows)))]
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

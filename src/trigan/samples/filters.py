"""Filters: which candidates of a sample set are kept, in the order in which they come."""

from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from trigan.data.inputs import image_batches
from trigan.errors import ConfigError


class Filter(Protocol):
    """Says of each candidate whether it is kept."""

    def keep(self, images: Tensor, labels: Tensor, judges: "Judges") -> Tensor:
        """Bool (N,) for uint8 ``images`` (N, C, S, S) with ``labels`` (N,)."""
        ...


@dataclass(frozen=True)
class Judges:
    """The networks that a filter may ask, in evaluation mode: C trained on L; D, where there is one."""

    classifier: nn.Module
    discriminator: nn.Module | None = None


@dataclass(frozen=True)
class Confidence:
    """Keep what C, trained on the labelled images, gives its label with a probability of ``threshold`` at least."""

    threshold: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"filter threshold {self.threshold} must be in [0, 1]")

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        probabilities = outputs(judges.classifier, images).softmax(1)
        return probabilities.gather(1, labels[:, None]).squeeze(1) >= self.threshold


@dataclass(frozen=True)
class Realism:
    """Keep the ``share`` of the candidates of each class whose D logit is highest (no D: everything)."""

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"filter share {self.share} must be in (0, 1]")

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        if judges.discriminator is None:
            return torch.ones(len(images), dtype=torch.bool)
        logits = outputs(judges.discriminator, images, labels)
        kept = torch.zeros(len(images), dtype=torch.bool)
        for label in labels.unique().tolist():
            rows = (labels == label).nonzero().squeeze(1)
            best = logits[rows].argsort(descending=True, stable=True)[: max(1, round(self.share * len(rows)))]
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

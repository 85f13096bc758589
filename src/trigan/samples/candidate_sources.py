"""Sources of candidates for a sample set: a generator, or real images as controls.

A source draws candidates for requested labels, or without labels; `trigan.samples.collect` then labels them.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trigan.datasets.inputs import Input
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import permutation, torch_generator
from trigan.samples.generate import UNCHANGED_LATENTS, LatentTransform, generate


class CandidateSource(Protocol):
    """Draws candidates by number."""

    @property
    def label_conditional(self) -> bool:
        """Whether candidates are drawn for given labels; otherwise they come without labels."""

    def draw(self, start: int, labels: Tensor) -> Input:
        """Candidates from number ``start``, one for each of the ``labels`` (n,); fewer when the source is exhausted."""


@dataclass(frozen=True)
class FromGenerator:
    """Samples of a generator, for the requested labels if it is conditional."""

    network: ImageGenerator
    seed: int
    latent_transform: LatentTransform = UNCHANGED_LATENTS

    @property
    def label_conditional(self) -> bool:
        """Whether the generator is."""
        return bool(self.network.classes)

    def draw(self, start: int, labels: Tensor) -> Input:
        """See `CandidateSource.draw`."""
        conditions = labels if self.label_conditional else None
        return generate(self.network, self.seed, len(labels), conditions, start, self.latent_transform)


@dataclass(frozen=True)
class FromUnlabelled:
    """Control: real unlabelled images, each at most once, in an order fixed by the seed, without labels."""

    images: Tensor
    seed: int
    label_conditional: bool = False

    def draw(self, start: int, labels: Tensor) -> Input:
        """See `CandidateSource.draw`."""
        order = permutation(len(self.images), self.seed, "unlabelled")
        return Input(self.images[order[start : start + len(labels)]])


@dataclass(frozen=True)
class FromLabelled:
    """Control: the labelled images again, drawn with replacement within the requested class."""

    images: Tensor
    labels: Tensor
    seed: int
    label_conditional: bool = True

    def draw(self, start: int, labels: Tensor) -> Input:
        """See `CandidateSource.draw`."""
        random = torch.rand(len(labels), generator=torch_generator(self.seed, "labelled", start))
        rows = torch.empty_like(labels)
        for label in set(labels.tolist()):
            members, requested = (self.labels == label).nonzero().squeeze(1), labels == label
            rows[requested] = members[(random[requested] * len(members)).long()]
        return Input(self.images[rows], labels)


@dataclass(frozen=True)
class FromNoise:
    """Control: uniform noise with the requested labels."""

    shape: tuple[int, int, int]
    seed: int
    label_conditional: bool = True

    def draw(self, start: int, labels: Tensor) -> Input:
        """See `CandidateSource.draw`."""
        generator = torch_generator(self.seed, "noise", start)
        images = torch.randint(0, 256, (len(labels), *self.shape), generator=generator, dtype=torch.uint8)
        return Input(images, labels)

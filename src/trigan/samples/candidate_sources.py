"""Where candidates for a sample set come from: a generator, or the real images that stand in for it as controls.

A source gives candidate images for wanted labels, or says by itself which label each of its candidates has.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import permutation, torch_generator
from trigan.samples.generate import UNCHANGED_LATENTS, LatentTransform, Samples, generate


class CandidateSource(Protocol):
    """``label_conditional``: candidates are drawn for given labels; else they are labelled afterwards."""

    @property
    def label_conditional(self) -> bool: ...

    def draw(self, start: int, wanted: Tensor) -> Samples:
        """Candidates number ``start`` onwards, one for each of the ``wanted`` labels (n,); maybe fewer at its end."""
        ...


@dataclass(frozen=True)
class FromGenerator:
    """Samples of a generator, under the wanted labels if it is conditional."""

    network: ImageGenerator
    seed: int
    latent_transform: LatentTransform = UNCHANGED_LATENTS

    @property
    def label_conditional(self) -> bool:
        return bool(self.network.classes)

    def draw(self, start: int, wanted: Tensor) -> Samples:
        labels = wanted if self.label_conditional else None
        return generate(self.network, self.seed, len(wanted), labels, start, self.latent_transform)


@dataclass(frozen=True)
class FromUnlabelled:
    """Control: real unlabelled images, each at most once, in an order of the seed; their labels must be guessed."""

    images: Tensor
    seed: int
    label_conditional: bool = False

    def draw(self, start: int, wanted: Tensor) -> Samples:
        order = permutation(len(self.images), self.seed, "unlabelled")
        return Samples(self.images[order[start : start + len(wanted)]], None)


@dataclass(frozen=True)
class FromLabelled:
    """Control: the labelled images over again, drawn with replacement within the wanted class."""

    images: Tensor
    labels: Tensor
    seed: int
    label_conditional: bool = True

    def draw(self, start: int, wanted: Tensor) -> Samples:
        random = torch.rand(len(wanted), generator=torch_generator(self.seed, "labelled", start))
        rows = torch.empty_like(wanted)
        for label in wanted.unique().tolist():
            members, asked = (self.labels == label).nonzero().squeeze(1), wanted == label
            rows[asked] = members[(random[asked] * len(members)).long()]
        return Samples(self.images[rows], wanted)


@dataclass(frozen=True)
class FromNoise:
    """Control: uniform noise under the wanted labels."""

    shape: tuple[int, int, int]
    seed: int
    label_conditional: bool = True

    def draw(self, start: int, wanted: Tensor) -> Samples:
        source = torch_generator(self.seed, "noise", start)
        images = torch.randint(0, 256, (len(wanted), *self.shape), generator=source, dtype=torch.uint8)
        return Samples(images, wanted)

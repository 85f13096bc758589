"""Where candidates for a sample set come from: a generator, or the real images that stand in for it as controls.

A source gives candidate images for wanted labels, or says by itself which label each of its candidates has.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trigan.networks.gans.gan import Generates
from trigan.rng import generator as random_generator
from trigan.rng import permutation
from trigan.samples.generate import PLAIN, Samples, Spread, generate


class CandidateSource(Protocol):
    """``chooses_labels``: candidates come for labels that are asked for; else their labels are found out afterwards."""

    @property
    def chooses_labels(self) -> bool: ...

    def draw(self, start: int, wanted: Tensor) -> Samples:
        """Candidates number ``start`` onwards, one for each of the ``wanted`` labels (n,); maybe fewer at its end."""
        ...


@dataclass(frozen=True)
class FromGenerator:
    """Samples of a generator, under the wanted labels if it is conditional."""

    network: Generates
    seed: int
    spread: Spread = PLAIN

    @property
    def chooses_labels(self) -> bool:
        return bool(self.network.classes)

    def draw(self, start: int, wanted: Tensor) -> Samples:
        labels = wanted if self.chooses_labels else None
        return generate(self.network, self.seed, len(wanted), labels, start, self.spread)


@dataclass(frozen=True)
class FromUnlabelled:
    """Control: real unlabelled images, each at most once, in an order of the seed; their labels must be guessed."""

    images: Tensor
    seed: int
    chooses_labels: bool = False

    def draw(self, start: int, wanted: Tensor) -> Samples:
        order = permutation(len(self.images), self.seed, "unlabelled")
        return Samples(self.images[order[start : start + len(wanted)]], None)


@dataclass(frozen=True)
class FromLabelled:
    """Control: the labelled images over again, drawn with replacement within the wanted class."""

    images: Tensor
    labels: Tensor
    seed: int
    chooses_labels: bool = True

    def draw(self, start: int, wanted: Tensor) -> Samples:
        random = torch.rand(len(wanted), generator=random_generator(self.seed, "labelled", start))
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
    chooses_labels: bool = True

    def draw(self, start: int, wanted: Tensor) -> Samples:
        source = random_generator(self.seed, "noise", start)
        images = torch.randint(0, 256, (len(wanted), *self.shape), generator=source, dtype=torch.uint8)
        return Samples(images, wanted)

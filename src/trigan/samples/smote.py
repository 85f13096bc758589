"""SMOTE: samples between an image and one of its nearest neighbours of the same class, in pixels or in codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from trigan.datasets.inputs import image_batches
from trigan.datasets.stream import to_uint8
from trigan.datasets.types import LabelledImages
from trigan.rng import Draws
from trigan.samples.samplers import Sampler


class Codec(Protocol):
    """An encoder of images (N, C, S, S) in [-1, 1] into codes (N, F), and a decoder of codes into images."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""

    def encode(self, images: Tensor) -> Tensor:
        """Images to codes."""

    def decode(self, codes: Tensor) -> Tensor:
        """Codes to images."""


@dataclass(frozen=True)
class SMOTESampler(Sampler):
    """x + u (x' - x), u uniform in [0, 1): Chawla et al. 2002 (JAIR 16), as in imbalanced-learn.

    x is a random image of the label's class, x' one of its ``neighbours`` nearest other images of that class (all
    others if there are fewer; itself if it is alone), by Euclidean distance. With a ``codec``, x are codes, and samples
    are decoded: DeepSMOTE (Dablain et al. 2021, 2105.02340).
    """

    real: LabelledImages
    neighbours: int = 5
    codec: Codec | None = None

    @cached_property
    def points(self) -> Tensor:
        """What is interpolated, of every image: pixels, 0 to 255, or codes; (N, F) on the CPU."""
        if self.codec is None:
            return self.real.images.flatten(1).double()
        weight = next(self.codec.parameters())
        with torch.no_grad():
            batches = image_batches(self.real.images, weight.device, weight.dtype)
            return torch.cat([self.codec.encode(images).double().cpu() for images in batches])

    @cached_property
    def nearest(self) -> dict[int, tuple[Tensor, Tensor]]:
        """For each class the rows of its images (n,), and of their neighbours (n, k), nearest first."""
        found = {}
        for label in set(self.real.labels.tolist()):
            rows = (self.real.labels == label).nonzero().squeeze(1)
            count = min(self.neighbours, len(rows) - 1)
            points = self.points[rows].numpy()
            table = NearestNeighbors(n_neighbors=count + 1).fit(points).kneighbors(points, return_distance=False)
            found[label] = rows, rows[torch.from_numpy(table[:, 1:] if count else table).long()]
        return found

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        if labels is None:
            raise ValueError("SMOTE draws samples for labels")
        drawn = Draws.of_indices(seed, indices).uniform("smote", 3, dtype=torch.float64)
        base, other = torch.empty_like(labels), torch.empty_like(labels)
        for label in set(labels.tolist()):
            wanted = labels == label
            rows, near = self.nearest[label]
            of_class = (drawn[wanted, 0] * len(rows)).long()
            base[wanted] = rows[of_class]
            other[wanted] = near[of_class, (drawn[wanted, 1] * near.shape[1]).long()]
        points = self.points[base]
        return self._images(points + drawn[:, 2:] * (self.points[other] - points))

    def _images(self, points: Tensor) -> Tensor:
        """Points (n, F) as images uint8 (n, C, S, S)."""
        if self.codec is None:
            return points.round().to(torch.uint8).view(-1, *self.real.images.shape[1:])
        weight = next(self.codec.parameters())
        with torch.no_grad():
            return torch.cat([to_uint8(self.codec.decode(part.to(weight))).cpu() for part in torch.split(points, 256)])

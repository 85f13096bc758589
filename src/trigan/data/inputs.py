"""What a stage may see, and how it passes through a network when nothing is trained."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.data.stream import to_float
from trigan.rng import torch_generator

#: How many images a forward pass takes when nothing is trained.
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Input:
    """What a stage may see under one name: ``images`` uint8 (N, C, S, S), ``labels`` int64 (N,) or None.

    ``parts``, where given, are the sizes of sets that lie one after the other; each epoch shows them in this order.
    """

    images: Tensor
    labels: Tensor | None = None
    parts: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known_labels(self) -> Tensor:
        """The labels of an input that must have them."""
        if self.labels is None:
            raise ValueError("this input has no labels")
        return self.labels


Inputs = Mapping[str, Input]


def image_batches(images: Tensor, device: torch.device, dtype: torch.dtype) -> Iterator[Tensor]:
    """All of ``images`` (uint8, or float in [-1, 1]) in order, as float batches in [-1, 1].

    They are of equal size: a lonely last image would have no batch statistics.
    """
    for portion in images.tensor_split(-(-len(images) // EVALUATION_BATCH)) if len(images) else ():
        moved = portion.to(device)
        yield (to_float(moved) if moved.dtype == torch.uint8 else moved).to(dtype)


def random_subset(images: Tensor, count: int, seed: int) -> Tensor:
    """At most ``count`` of the images, chosen by the seed, in their order."""
    if len(images) <= count:
        return images
    order = torch.randperm(len(images), generator=torch_generator(seed, "sample"))
    return images[order[:count].sort().values]

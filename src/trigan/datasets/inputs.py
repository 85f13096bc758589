"""The input of a stage, and batches of images outside training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from trigan.datasets.stream import to_float
from trigan.rng import permutation

#: Images in a forward pass outside training.
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Input:
    """One named input of a stage: ``images`` uint8 (N, C, S, S), ``labels`` int64 (N,) or None.

    Labels of extra images may be probabilities instead, float (N, K). ``parts``, if given, are the sizes of consecutive
    sets; each epoch goes through them in this order. ``sampled`` images come from a sampler: no network that is
    evaluated has batch-norm statistics of them.
    """

    images: Tensor
    labels: Tensor | None = None
    parts: tuple[int, ...] = ()
    sampled: bool = False

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known_labels(self) -> Tensor:
        """The labels of an input that must have them."""
        if self.labels is None:
            raise ValueError("this input has no labels")
        return self.labels

    def weights_with_labels(self, share: float) -> Tensor | None:
        """Weights of the images (N,) by which a ``share`` of a batch has a label; None if as many have one anyway.

        None, too, if no image has a label (not -1).
        """
        labelled = torch.zeros(len(self)) if self.labels is None else (self.labels >= 0).float()
        present = float(labelled.mean())
        if not 0.0 < present < share:
            return None
        return torch.where(labelled > 0, share / present, (1.0 - share) / (1.0 - present))


Inputs = Mapping[str, Input]


def image_batches(images: Tensor, device: torch.device, dtype: torch.dtype) -> Iterator[Tensor]:
    """All ``images`` (uint8, or float in [-1, 1]) in order, as float batches in [-1, 1].

    Batches have equal sizes: a last batch of one image would have no batch statistics.
    """
    for batch in images.tensor_split(-(-len(images) // EVALUATION_BATCH)) if len(images) else ():
        moved = batch.to(device)
        yield (to_float(moved) if moved.dtype == torch.uint8 else moved).to(dtype)


def network_batches(network: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """`image_batches` where a network's weights lie, in their precision."""
    # a nearest-neighbour network has buffers only, and pixels as features have none
    tensors = (value for value in chain(network.parameters(), network.buffers()) if value.is_floating_point())
    tensor = next(tensors, torch.empty(0))
    return image_batches(images, tensor.device, tensor.dtype)


def random_subset(images: Tensor, count: int, seed: int) -> Tensor:
    """At most ``count`` of the images, chosen by the seed, in their original order."""
    if len(images) <= count:
        return images
    return images[permutation(len(images), seed, "subset")[:count].sort().values]


def stratified_folds(labels: Tensor, classes: int, folds: int, seed: int, purpose: str) -> Tensor:
    """The fold of each image (N,): equally many of each class; -1, never held out, for the only image of a class."""
    fold_of = torch.full_like(labels, -1)
    for label in range(classes):
        rows = (labels == label).nonzero().squeeze(1)
        if len(rows) > 1:
            order = permutation(len(rows), seed, purpose, label)
            fold_of[rows[order]] = torch.arange(len(rows)) % max(1, folds)
    return fold_of

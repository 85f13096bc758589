"""Sources of candidates for a sample set: a generator, or real images and noise as controls.

Each function is a `CandidateSource` once its first arguments are bound (``functools.partial``).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trigan.datasets.inputs import Input
from trigan.datasets.types import LabelledImages
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import Draws, permutation
from trigan.samples.generate import LatentTransform, generate

#: ``source(start, labels)`` draws candidates from number ``start``, one for each of the ``labels`` (n,), fewer when it
#: is exhausted. They have these labels or, from a source that cannot choose a class, none.
CandidateSource = Callable[[int, Tensor], Input]


def from_generator(
    network: ImageGenerator, seed: int, latent_transform: LatentTransform, start: int, labels: Tensor
) -> Input:
    """Samples of a generator, for the requested labels if it is conditional, else without labels."""
    conditions = labels if network.classes else None
    return generate(network, seed, len(labels), conditions, start, latent_transform)


def from_unlabelled(images: Tensor, seed: int, start: int, labels: Tensor) -> Input:
    """Control: real unlabelled images, each at most once, in an order fixed by the seed, without labels."""
    order = permutation(len(images), seed, "unlabelled")
    return Input(images[order[start : start + len(labels)]])


def from_labelled(real: LabelledImages, seed: int, start: int, labels: Tensor) -> Input:
    """Control: the labelled images again, drawn with replacement within the requested class."""
    random = Draws.of_rows(seed, start, start + len(labels)).uniform("labelled", dtype=torch.float64)
    rows = torch.empty_like(labels)
    for label in set(labels.tolist()):
        members, requested = (real.labels == label).nonzero().squeeze(1), labels == label
        rows[requested] = members[(random[requested] * len(members)).long()]
    return Input(real.images[rows], labels)


def from_noise(shape: tuple[int, int, int], seed: int, start: int, labels: Tensor) -> Input:
    """Control: uniform noise (C, S, S) with the requested labels."""
    pixels = Draws.of_rows(seed, start, start + len(labels)).integers("noise", 256, *shape)
    return Input(pixels.to(torch.uint8), labels)

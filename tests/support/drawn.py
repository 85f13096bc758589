"""Samples of a generator by their numbers, for tests."""

from typing import Any

import torch
from torch import Tensor

from trigan.datasets.inputs import Input
from trigan.samples import samplers
from trigan.samples.samplers import UNCHANGED_LATENTS, GeneratorSampler, LatentTransform


def generate(
    network: Any,
    seed: int,
    count: int,
    labels: Tensor | None = None,
    start: int = 0,
    latent_transform: LatentTransform = UNCHANGED_LATENTS,
) -> Input:
    """Samples number ``start`` to ``start + count``, with their labels if the generator takes some."""
    sampler = GeneratorSampler(network, latent_transform)
    return Input(sampler.sample(torch.arange(start, start + count), labels, seed), labels)


def latents(seed: int, start: int, stop: int, size: int) -> Tensor:
    """Latents number ``start`` to ``stop``."""
    return samplers.latents(seed, torch.arange(start, stop), size)

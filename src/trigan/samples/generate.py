"""Sample sets: sample number i is a function of (generator, seed, i), in whatever portions it is drawn."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.data.stream import to_uint8
from trigan.networks.adversaries import Generates
from trigan.rng import generator

#: Latents are drawn in blocks of this many, each with a seed of its own.
BLOCK = 256


@dataclass(frozen=True)
class Samples:
    """``images`` uint8 (N, C, S, S) and ``labels`` int64 (N,), or None from an unconditional generator."""

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)


def latents(seed: int, start: int, stop: int, size: int) -> Tensor:
    """Latents number ``start..stop`` of the seed, N(0, 1), float32 (stop - start, size), on the CPU."""
    first, last = start // BLOCK, -(-stop // BLOCK)
    blocks = [torch.randn(BLOCK, size, generator=generator(seed, "latents", block)) for block in range(first, last)]
    return torch.cat(blocks)[start - first * BLOCK : stop - first * BLOCK] if blocks else torch.empty(0, size)


@torch.no_grad()
def generate(network: Generates, seed: int, count: int, labels: Tensor | None = None, start: int = 0) -> Samples:
    """Samples number ``start`` to ``start + count`` from a generator in evaluation mode.

    ``labels`` (count,) are the conditions, needed exactly if the generator is label-conditional.
    """
    if (labels is None) == bool(network.classes):
        raise ValueError("labels are for a conditional generator, and for that one they are needed")
    parameter = next(network.parameters())
    images = []
    for begin in range(start, start + count, BLOCK):
        stop = min(begin + BLOCK, start + count)
        z = latents(seed, begin, stop, network.latent).to(parameter.device, parameter.dtype)
        y = None if labels is None else labels[begin - start : stop - start].to(parameter.device)
        images.append(to_uint8(network(z, y)).cpu())
    return Samples(torch.cat(images), labels)

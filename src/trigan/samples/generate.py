"""Sample sets: sample number i is a function of (generator, seed, i), in whatever portions it is drawn."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.data.stream import to_uint8
from trigan.errors import ConfigError
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import torch_generator

#: Latents are drawn in blocks of this many, each with a seed of its own.
BLOCK = 256


@dataclass(frozen=True)
class Samples:
    """``images`` uint8 (N, C, S, S) and ``labels`` int64 (N,), or None from an unconditional generator."""

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LatentTransform:
    """How far from the middle latents are drawn: truncated to |z_i| <= ``truncation``, then times ``scale``.

    Truncation is that of Brock et al. 2019 (arXiv 1809.11096, section 3.1), where numbers outside are drawn again until
    they lie inside. The law is the same, but sample i stays a function of its own z: a number of rank Phi(z) in N(0, 1)
    becomes that of the same rank in the truncated normal, sqrt(2) erfinv(erf(t / sqrt 2) erf(z / sqrt 2)). What it does
    to a classifier is measured by Ravuri & Vinyals 2019 (arXiv 1905.10887). None and 1: z as it is.
    """

    truncation: float | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.truncation is not None and not self.truncation > 0.0:
            raise ConfigError(f"truncation: {self.truncation} must be above 0, or null")
        if not 0.0 <= self.scale < math.inf:
            raise ConfigError(f"scale: {self.scale} must be 0 or more")

    def __call__(self, z: Tensor) -> Tensor:
        """Latents (N, d) ~ N(0, 1) -> the same shape; the order of the numbers stays."""
        if self.truncation is not None:
            bound, root = self.truncation, math.sqrt(2.0)
            inner = torch.erf(z.double() / root) * math.erf(bound / root)  # in single precision tails would be lost
            z = (torch.erfinv(inner) * root).clamp(-bound, bound).to(z.dtype)
        return z if self.scale == 1.0 else z * self.scale


#: Latents as the generator was trained on them.
UNCHANGED_LATENTS = LatentTransform()


def latents(seed: int, start: int, stop: int, size: int) -> Tensor:
    """Latents number ``start..stop`` of the seed, N(0, 1), float32 (stop - start, size), on the CPU."""
    first, last = start // BLOCK, -(-stop // BLOCK)
    blocks = [
        torch.randn(BLOCK, size, generator=torch_generator(seed, "latents", block)) for block in range(first, last)
    ]
    return torch.cat(blocks)[start - first * BLOCK : stop - first * BLOCK] if blocks else torch.empty(0, size)


@torch.no_grad()
def generate(
    network: ImageGenerator,
    seed: int,
    count: int,
    labels: Tensor | None = None,
    start: int = 0,
    latent_transform: LatentTransform = UNCHANGED_LATENTS,
) -> Samples:
    """Samples number ``start`` to ``start + count`` from a generator in evaluation mode.

    ``labels`` (count,) are the conditions, needed exactly if the generator is label-conditional.
    """
    if (labels is None) == bool(network.classes):
        raise ValueError("labels are for a conditional generator, and for that one they are needed")
    parameter = next(network.parameters())
    images = []
    for begin in range(start, start + count, BLOCK):
        stop = min(begin + BLOCK, start + count)
        z = _spread(network, latents(seed, begin, stop, network.latent), latent_transform)
        z = z.to(parameter.device, parameter.dtype)
        y = None if labels is None else labels[begin - start : stop - start].to(parameter.device)
        images.append(to_uint8(network(z, y)).cpu())
    return Samples(torch.cat(images), labels)


def _spread(network: ImageGenerator, z: Tensor, latent_transform: LatentTransform) -> Tensor:
    """Latents spread, but for the numbers at the end that choose one of several generators."""
    painting = network.latent - getattr(network, "choosing", 0)
    return torch.cat([latent_transform(z[:, :painting]), z[:, painting:]], dim=1)

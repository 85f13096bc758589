"""Generated sample sets: sample i is a function of (generator, seed, i), whatever the portions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.checks import require
from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_uint8
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import Draws

#: Images of one pass through the generator.
BLOCK = 256


@dataclass(frozen=True)
class LatentTransform:
    """Narrows the latent distribution: truncated to |z_i| <= ``truncation``, then times ``scale``; None and 1 keep z.

    Brock et al. 2019 (arXiv 1809.11096, section 3.1) truncate by redrawing numbers outside the bound. Here the
    distribution is the same, but sample i stays a function of its own z: a number of rank Phi(z) in N(0, 1) becomes
    that of the same rank in the truncated normal, sqrt(2) erfinv(erf(t / sqrt 2) erf(z / sqrt 2)). Ravuri & Vinyals
    2019 (arXiv 1905.10887) measure the effect on a classifier.
    """

    truncation: float | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        positive = self.truncation is None or self.truncation > 0.0
        require(positive, "truncation", self.truncation, "a number above 0, or null")
        require(0.0 <= self.scale < math.inf, "scale", self.scale, "a number of 0 or more")

    def __call__(self, z: Tensor) -> Tensor:
        """Latents (N, d) ~ N(0, 1) -> the same shape; the transform is monotonic."""
        if self.truncation is not None:
            bound, root = self.truncation, math.sqrt(2.0)
            inner = torch.erf(z.double() / root) * math.erf(bound / root)  # single precision would lose the tails
            z = (torch.erfinv(inner) * root).clamp(-bound, bound).to(z.dtype)
        return z if self.scale == 1.0 else z * self.scale


#: The distribution of latents in training.
UNCHANGED_LATENTS = LatentTransform()


def latents(seed: int, start: int, stop: int, size: int) -> Tensor:
    """Latents number ``start..stop`` of the seed, N(0, 1), float32 (stop - start, size), on the CPU."""
    return Draws.of_rows(seed, start, stop).normal("latents", size)


@torch.no_grad()
def generate(
    network: ImageGenerator,
    seed: int,
    count: int,
    labels: Tensor | None = None,
    start: int = 0,
    latent_transform: LatentTransform = UNCHANGED_LATENTS,
) -> Input:
    """Samples number ``start`` to ``start + count`` from a generator in evaluation mode, with their conditions.

    ``labels`` (count,) are the conditions, required exactly if the generator is label-conditional. The latents by
    which a `GeneratorMixture` selects a member are not transformed.
    """
    if (labels is None) == bool(network.classes):
        raise ValueError("a conditional generator needs labels, and only a conditional one takes them")
    parameter = next(network.parameters())
    transformed = network.latent - network.selector_dims
    images = []
    for begin in range(start, start + count, BLOCK):
        stop = min(begin + BLOCK, start + count)
        z = latents(seed, begin, stop, network.latent)
        z = torch.cat([latent_transform(z[:, :transformed]), z[:, transformed:]], dim=1)
        y = None if labels is None else labels[begin - start : stop - start].to(parameter.device)
        images.append(to_uint8(network(z.to(parameter.device, parameter.dtype), y)).cpu())
    return Input(torch.cat(images), labels)

"""Several trained networks as one: a generator per class, a mixture of generators, an ensemble of discriminators."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import ImageGenerator


class PerClassGenerators(ImageGenerator):
    """Unconditional generators, one per class, as a conditional generator."""

    def __init__(self, generators: Sequence[ImageGenerator]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.latent, self.classes = generators[0].latent, len(generators)
        self.block, self.passes = generators[0].block, generators[0].passes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (N, latent) and labels (N,) -> images (N, C, S, S)."""
        if y is None:
            raise ValueError("generators per class need labels")
        return _generate_by(self.generators, y, z, None)


class GeneratorMixture(ImageGenerator):
    """Generators of one kind as one, in which every sample comes from a member chosen by its z, all equally often.

    Latents are one number longer than the members': (N, latent + 1), N(0, 1). The last number u selects member
    floor(M Phi(u)), Phi the normal distribution function, so that a sample is a function of its z (and y) alone.
    """

    selector_dims = 1

    def __init__(self, members: Sequence[ImageGenerator]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.latent, self.classes = members[0].latent + self.selector_dims, members[0].classes
        self.block, self.passes = members[0].block, members[0].passes

    def member_index(self, z: Tensor) -> Tensor:
        """The member that each row selects, int64 (N,) in 0..M-1."""
        share = 0.5 * (1.0 + torch.erf(z[:, -1] / math.sqrt(2.0)))
        return (share * len(self.members)).long().clamp(max=len(self.members) - 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (N, latent), and labels (N,) if the members are conditional, -> images (N, C, S, S)."""
        return _generate_by(self.members, self.member_index(z), z[:, :-1], y)


class DiscriminatorEnsemble(nn.Module):
    """Discriminators as an ensemble: the mean of their logits."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, C, S, S), and labels (N,) if the members are conditional, -> logits (N,)."""
        return torch.stack([member(x, y) for member in self.members]).mean(0)


def _generate_by(generators: nn.ModuleList, chosen: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
    """Images whose rows come from the generators with the indices ``chosen`` (N,)."""
    rows = [torch.nonzero(chosen == index).squeeze(1) for index in range(len(generators))]
    images = [
        generator(z[own], None if y is None else y[own])
        for generator, own in zip(generators, rows, strict=True)
        if len(own)
    ]
    return torch.cat(images)[torch.cat(rows).argsort()]

"""Several trained adversaries as one: a generator for each class, a mixture of generators, a discriminator ensemble."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import ImageGenerator


class PerClassGenerators(nn.Module):
    """One unconditional generator a class, as one conditional generator: (z, y) -> images."""

    def __init__(self, generators: Sequence[nn.Module]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        first: ImageGenerator = generators[0]  # type: ignore[assignment]
        self.latent: int = first.latent
        self.classes: int = len(generators)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if y is None:
            raise ValueError("one generator a class needs labels")
        return _by_row(self.generators, y, z, None)


class GeneratorMixture(nn.Module):
    """Generators of one kind as one: each row's own draw says which of them paints it, all equally often.

    Latents are one number longer than the members': (N, latent + 1), N(0, 1). The last number u chooses member
    floor(M Phi(u)), Phi the normal distribution function, so that a sample stays a function of its z (and y) alone.
    """

    #: Numbers at the end of z that choose, and paint nothing: how latents are narrowed or spread is not for them.
    selector_dims = 1

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first: ImageGenerator = members[0]  # type: ignore[assignment]
        self.latent: int = first.latent + self.selector_dims
        self.classes: int = first.classes

    def member_index(self, z: Tensor) -> Tensor:
        """Which member paints each row, int64 (N,) in 0..M-1."""
        share = 0.5 * (1.0 + torch.erf(z[:, -1] / math.sqrt(2.0)))
        return (share * len(self.members)).long().clamp(max=len(self.members) - 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return _by_row(self.members, self.member_index(z), z[:, :-1], y)


class DiscriminatorEnsemble(nn.Module):
    """Discriminators as an ensemble: the mean of their logits, (N,)."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.stack([member(x, y) for member in self.members]).mean(0)


def _by_row(networks: nn.ModuleList, chosen: Tensor, z: Tensor, y: Tensor | None) -> Tensor:
    """Each row painted by the network that ``chosen`` (N,) names for it."""
    images: Tensor | None = None
    for index, network in enumerate(networks):
        rows = chosen == index
        if bool(rows.any()):
            drawn = network(z[rows]) if y is None else network(z[rows], y[rows])
            images = drawn.new_empty(len(z), *drawn.shape[1:]) if images is None else images
            images[rows] = drawn
    if images is None:
        raise ValueError("no rows")
    return images

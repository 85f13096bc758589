"""Heads on D's feature maps for pretext tasks; they are discarded after pretraining."""

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec


def _top_features(discriminator: Discriminator, images: Tensor) -> Tensor:
    """The last of D's feature maps, flattened: the input of its head, (N, F)."""
    return list(discriminator.features(images).values())[-1].flatten(1)


@torch.no_grad()
def top_map(discriminator: Discriminator, spec: ImageSpec) -> tuple[str, int]:
    """Name and number of values of the last of D's feature maps; D is left in evaluation mode."""
    image = next(discriminator.parameters()).new_zeros(1, spec.channels, spec.size, spec.size)
    name, features = list(discriminator.eval().features(image).items())[-1]
    return name, features.numel()


class Autoencoder(nn.Module):
    """D's feature maps, a linear code, and the body of the architecture's G as the decoder.

    The code has the length of G's hidden vector. New weights are drawn from torch's global generator.
    """

    def __init__(self, discriminator: Discriminator, architecture: Architecture, spec: ImageSpec) -> None:
        super().__init__()
        generator = architecture.generator(spec)
        self.discriminator = discriminator
        self.bottleneck = nn.Linear(top_map(discriminator, spec)[1], generator.body.inputs)
        self.decoder = generator.body

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) -> codes (N, F)."""
        codes: Tensor = self.bottleneck(_top_features(self.discriminator, images))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (N, F) -> images in [-1, 1]."""
        restored: Tensor = self.decoder(codes)
        return restored

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) -> images in [-1, 1]."""
        return self.decode(self.encode(images))


class Projector(nn.Module):
    """D's feature maps and a head of two layers: Chen et al. 2020 (2002.05709), section 2.1: g(h) = W2 relu(W1 h).

    New weights are drawn from torch's global generator.
    """

    def __init__(self, discriminator: Discriminator, spec: ImageSpec, hidden: int, width: int) -> None:
        super().__init__()
        self.discriminator = discriminator
        features = top_map(discriminator, spec)[1]
        self.head = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) -> projections (N, ``width``)."""
        projections: Tensor = self.head(_top_features(self.discriminator, images))
        return projections

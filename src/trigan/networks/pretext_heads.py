"""What stands behind D's feature maps while they are trained without a GAN, and is thrown away afterwards."""

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.networks.shapes import ImageSpec


def top_features(discriminator: Discriminator, images: Tensor) -> Tensor:
    """The last of D's feature maps, flattened: the input of its head, (N, F)."""
    return list(discriminator.features(images).values())[-1].flatten(1)


def top_layer_name(discriminator: Discriminator, spec: ImageSpec) -> str:
    """The name of the last of D's feature maps; the discriminator is left in evaluation mode."""
    return list(discriminator.eval().features(_black(discriminator, spec)))[-1]


def _width(discriminator: Discriminator, spec: ImageSpec) -> int:
    """F of :func:`top_features`; the discriminator is left in evaluation mode."""
    with torch.no_grad():
        return top_features(discriminator.eval(), _black(discriminator, spec)).shape[1]


def _black(network: nn.Module, spec: ImageSpec) -> Tensor:
    """An image to find out shapes with."""
    return next(network.parameters()).new_zeros(1, spec.channels, spec.size, spec.size)


class Autoencoder(nn.Module):
    """Images (N, C, S, S) -> images in [-1, 1]: D's maps, a linear code, and the body of the architecture's G.

    The code has the length of the hidden vector that G's body begins with. New parts are drawn from torch's global
    random numbers.
    """

    def __init__(self, discriminator: Discriminator, architecture: Architecture, spec: ImageSpec) -> None:
        super().__init__()
        generator = architecture.generator(spec)
        with torch.no_grad():
            hidden = generator.input_layer(torch.zeros(1, generator.latent), torch.zeros(1, dtype=torch.int64)).shape[1]
        self.discriminator = discriminator
        self.bottleneck = nn.Linear(_width(discriminator, spec), hidden)
        self.decoder = generator.body

    def forward(self, images: Tensor) -> Tensor:
        restored: Tensor = self.decoder(self.bottleneck(top_features(self.discriminator, images)))
        return restored


class Projector(nn.Module):
    """Images (N, C, S, S) -> projections (N, ``width``): D's maps and a head of two layers.

    Chen et al. 2020 (2002.05709), section 2.1: g(h) = W2 relu(W1 h). New parts are drawn from torch's global random
    numbers.
    """

    def __init__(self, discriminator: Discriminator, spec: ImageSpec, hidden: int, width: int) -> None:
        super().__init__()
        self.discriminator = discriminator
        layers = nn.Linear(_width(discriminator, spec), hidden), nn.ReLU(), nn.Linear(hidden, width)
        self.head = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        projected: Tensor = self.head(top_features(self.discriminator, images))
        return projected

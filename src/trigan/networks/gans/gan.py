"""Generator and discriminator: a convolutional body each, and an input layer or head that may depend on labels."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from trigan.networks.gans.convolutional import ConvBackbone, Upsampler
from trigan.networks.shapes import ImageSpec


class Architecture(Protocol):
    """A factory of generators and discriminators: any frozen dataclass with these members."""

    @property
    def conditional(self) -> bool:
        """Whether G and D take labels."""

    @property
    def latent(self) -> int:
        """Length of z."""

    @property
    def discriminator_norm(self) -> str:
        """``batch``, ``none`` or ``spectral``."""

    def generator(self, spec: ImageSpec) -> "Generator":
        """A new generator of images of shape ``spec``."""

    def discriminator(self, spec: ImageSpec) -> "Discriminator":
        """A new discriminator of images of shape ``spec``."""


class ImageGenerator(Protocol):
    """A `Generator` or a combination of several; ``classes`` is 0 if it takes no labels."""

    latent: int
    classes: int

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """As `Generator.forward`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any ``nn.Module``."""


class Generator(nn.Module):
    """An input layer, (z, y) -> hidden vector, and a body, hidden vector -> images; without labels ``classes`` is 0."""

    def __init__(self, input_layer: nn.Module, body: Upsampler, latent: int, classes: int) -> None:
        super().__init__()
        self.input_layer, self.body = input_layer, body
        self.latent, self.classes = latent, classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (N, latent) ~ N(0, 1), and labels (N,) if conditional, -> images (N, C, S, S) in [-1, 1]."""
        images: Tensor = self.body(self.input_layer(z, y))
        return images


class Discriminator(nn.Module):
    """A backbone, images -> the last map, label-free; and a head, (flattened last map (N, F), y) -> logits (N, 1)."""

    def __init__(self, backbone: ConvBackbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, C, S, S), and labels (N,) if conditional, -> logits (N,), positive for real."""
        logits: Tensor = self.head(self.backbone(x).flatten(1), y)
        return logits.squeeze(1)

    def logits_for_every_label(self, x: Tensor, classes: int) -> Tensor:
        """Logits (N, classes) of each image with every label, from one pass of the backbone."""
        top = self.backbone(x).flatten(1)
        labels = torch.arange(classes, device=x.device)[:, None].expand(classes, len(x))
        return torch.cat([self.head(top, y) for y in labels], dim=1)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Maps after each activation, (N, C_i, S_i, S_i), input side first; they are label-free."""
        return self.backbone.features(x)

"""Generator and discriminator: one convolutional body each, and a small part that knows whether there are labels."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from trigan.networks.gans.convolutional import ConvBackbone, Upsampler
from trigan.networks.shapes import ImageSpec


class Architecture(Protocol):
    """What makes a pair of adversaries; any frozen dataclass with these, named by a config, is one."""

    @property
    def conditional(self) -> bool: ...

    @property
    def latent(self) -> int: ...

    @property
    def discriminator_norm(self) -> str: ...

    def generator(self, spec: ImageSpec) -> "Generator": ...

    def discriminator(self, spec: ImageSpec) -> "Discriminator": ...


class ImageGenerator(Protocol):
    """Whatever draws images: a :class:`Generator`, or one for each class. ``classes`` is 0 if it takes no labels."""

    latent: int
    classes: int

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class Generator(nn.Module):
    """Latents (N, latent) ~ N(0, 1), and labels (N,) if conditional, -> images (N, C, S, S) in [-1, 1].

    Args:
        input_layer: (z, y) -> the hidden vector that the body begins with.
        body: hidden vector -> images.
        latent: length of z.
        classes: number of labels, 0 if unconditional.
    """

    def __init__(self, input_layer: nn.Module, body: Upsampler, latent: int, classes: int) -> None:
        super().__init__()
        self.input_layer, self.body = input_layer, body
        self.latent, self.classes = latent, classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.body(self.input_layer(z, y))


class Discriminator(nn.Module):
    """Images (N, C, S, S), and labels (N,) if conditional, -> logits (N,), positive for real.

    Args:
        backbone: images -> the top map, label-free.
        head: (flattened top map (N, F), y) -> logits (N, 1).
    """

    def __init__(self, backbone: ConvBackbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.head(self.backbone(x).flatten(1), y).squeeze(1)

    def logits_for_every_label(self, x: Tensor, classes: int) -> Tensor:
        """Logits (N, classes) of each image with every label; the backbone sees each image once."""
        top = self.backbone(x).flatten(1)
        labels = torch.arange(classes, device=x.device)[:, None].expand(classes, len(x))
        return torch.cat([self.head(top, y) for y in labels], dim=1)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Maps after each activation, (N, C_i, S_i, S_i), input side first; labels play no part in them."""
        return self.backbone.features(x)

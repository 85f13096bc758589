"""Packing (PacGAN, Lin et al. 2018, 1712.04086): D sees several independent images at once, stacked on channels."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trigan.checks import require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.gans.gan import Architecture
from trigan.networks.shapes import ImageSpec


class _Stacked(NamedTuple):
    """The shape of a pack: an image with more channels."""

    channels: int
    size: int
    classes: int


class PackedDiscriminator(nn.Module):
    """In training: ``images`` consecutive rows are one pack, (N, C, S, S) -> logits (N / images,).

    In evaluation each image is repeated to fill a pack of its own, (N, C, S, S) -> logits (N,), and so for features.
    """

    def __init__(self, network: Any, images: int) -> None:
        super().__init__()
        self.network, self.images = network, images

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """See the class; there are no labels."""
        if not self.training:
            logits: Tensor = self.network(self._repeated(x))
            return logits
        if len(x) % self.images:
            raise ConfigError(
                f"architecture.images={self.images}: {len(x)} images in a (micro-)batch of D are not full packs; take "
                f"a batch that gives each process and micro-batch a multiple of {self.images}"
            )
        packed: Tensor = self.network(x.reshape(len(x) // self.images, -1, *x.shape[2:]))
        return packed

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The maps (N, C_i, S_i, S_i) of packs that repeat one image each."""
        maps: dict[str, Tensor] = self.network.features(self._repeated(x))
        return maps

    def _repeated(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self.images, dim=1)


@component("architecture/pacgan@1")
@dataclass(frozen=True)
class PacGAN:
    """An unconditional ``architecture`` whose D sees packs of ``images`` images; its first layer has more channels."""

    architecture: Architecture
    images: int = 2

    conditional = False

    def __post_init__(self) -> None:
        require_at_least("architecture.images", self.images, 1)
        if self.architecture.conditional:
            raise ConfigError(
                "architecture=pacgan packs images without labels: set an unconditional architecture.architecture, such "
                "as dcgan"
            )

    @property
    def discriminator_norm(self) -> str:
        """That of the inner architecture."""
        return self.architecture.discriminator_norm

    def generator(self, spec: ImageSpec) -> Any:
        """A new generator of single images."""
        return self.architecture.generator(spec)

    def discriminator(self, spec: ImageSpec) -> Any:
        """A new discriminator of packs."""
        stacked = _Stacked(self.images * spec.channels, spec.size, spec.classes)
        return PackedDiscriminator(self.architecture.discriminator(stacked), self.images)

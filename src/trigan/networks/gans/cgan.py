"""Conditional GAN: Mirza & Osindero 2014 (1411.1784) on the DCGAN's body."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.gan import Generator
from trigan.networks.shapes import ImageSpec

MAXOUT_PIECES = 4


class _ConditionalInput(nn.Module):
    """A hidden layer for z (N, latent) and one for y (N,), concatenated: (N, latent + code).

    The paper's joint hidden layer is the generator's projection to its smallest map.
    """

    def __init__(self, latent: int, classes: int, code: int) -> None:
        super().__init__()
        self.map_z = nn.Linear(latent, latent)
        self.map_y = nn.Embedding(classes, code)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        codes = self.map_y(_require_labels("generator", y))
        return torch.cat([F.relu(self.map_z(z)), F.relu(codes)], dim=1)


class _ConditionalHead(nn.Module):
    """A joint maxout layer of image features (N, F) and label (N,), then a linear logit (N, 1).

    As in the paper, maxout units have 4 pieces, of which each label selects others: features get other weights for
    every label. With LeakyReLU units D hardly depended on the label in its first thousand steps.
    """

    def __init__(self, features: int, classes: int, units: int) -> None:
        super().__init__()
        self.map_x = nn.Linear(features, units * MAXOUT_PIECES)
        self.map_y = nn.Embedding(classes, units * MAXOUT_PIECES)
        self.logit = nn.Linear(units, 1)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        pieces = self.map_x(features) + self.map_y(_require_labels("discriminator", y))
        logits: Tensor = self.logit(pieces.view(len(pieces), -1, MAXOUT_PIECES).amax(2))
        return logits


def _require_labels(player: str, y: Tensor | None) -> Tensor:
    if y is None:
        raise ConfigError(f"a conditional {player} needs labels: pass y, int64 of shape (N,)")
    return y


@component("architecture/cgan@1")
@dataclass(frozen=True)
class CGAN(DCGAN):
    """DCGAN whose G generates an image for a label, and whose D classifies pairs of image and label.

    The label enters D after its convolutions, so their features are label-free.

    Attributes:
        label_embedding_dim: units of the label's hidden layer in G, >= 1.
        joint_units: maxout units of D's joint hidden layer, >= 1.
    """

    label_embedding_dim: int = 64
    joint_units: int = 64

    conditional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("label_embedding_dim", "joint_units"):
            require_at_least(f"architecture.{name}", getattr(self, name), 1)

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator, in which the hidden layers of z and of the label have the same initial scale."""
        network = super().generator(spec)
        nn.init.normal_(network.input_layer.get_parameter("map_z.weight"), 0.0, self.latent**-0.5)
        return network

    def _input_layer(self, spec: ImageSpec) -> tuple[nn.Module, int]:
        layer = _ConditionalInput(self.latent, _classes(spec), self.label_embedding_dim)
        return layer, self.latent + self.label_embedding_dim

    def _head(self, spec: ImageSpec, features: int) -> nn.Module:
        return _ConditionalHead(features, _classes(spec), self.joint_units)


def _classes(spec: ImageSpec) -> int:
    if spec.classes < 1:
        raise ConfigError("architecture=cgan: the data have no classes to condition on; use architecture=dcgan")
    return spec.classes

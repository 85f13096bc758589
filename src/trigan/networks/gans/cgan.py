"""Conditional GAN: Mirza & Osindero 2014 (1411.1784) on the DCGAN's body."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.components import component
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.gan import Generator
from trigan.networks.setting_checks import require_at_least
from trigan.networks.shapes import ImageSpec

MAXOUT_PIECES = 4


def _require_labels(player: str, y: Tensor | None) -> Tensor:
    if y is None:
        raise ConfigError(f"a conditional {player} needs labels: pass y, int64 of shape (N,)")
    return y


class ConditionalInput(nn.Module):
    """z and y, each mapped to a hidden layer of its own and joined: (N, latent), (N,) -> (N, latent + code).

    The generator's projection to its smallest map is the joint hidden layer of the paper.
    """

    def __init__(self, latent: int, classes: int, code: int) -> None:
        super().__init__()
        self.map_z = nn.Linear(latent, latent)
        self.map_y = nn.Embedding(classes, code)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        codes = self.map_y(_require_labels("generator", y))
        return torch.cat([F.relu(self.map_z(z)), F.relu(codes)], dim=1)


class ConditionalHead(nn.Module):
    """Image features (N, F) and labels (N,) in one joint maxout layer, then the logit (N, 1).

    The paper's joint layer has maxout units of 4 pieces. They matter: each label chooses pieces, so the features are
    read in another way for every label. With LeakyReLU units D hardly looked at the label in its first thousand steps.
    """

    def __init__(self, features: int, classes: int, units: int) -> None:
        super().__init__()
        self.map_x = nn.Linear(features, units * MAXOUT_PIECES)
        self.map_y = nn.Embedding(classes, units * MAXOUT_PIECES)
        self.logit = nn.Linear(units, 1)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        pieces = self.map_x(features) + self.map_y(_require_labels("discriminator", y))
        return self.logit(pieces.view(len(pieces), -1, MAXOUT_PIECES).amax(2))


@component("architecture/cgan@1")
@dataclass(frozen=True)
class CGAN(DCGAN):
    """DCGAN whose G draws an image for a label, and whose D judges the pair of image and label.

    The label enters D after its convolutions, so their features are label-free.

    Attributes:
        label_embedding_dim: units of the label's own hidden layer in G, >= 1.
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
        """A new generator; z's hidden layer begins at the scale of the label's, so that neither drowns the other."""
        network = super().generator(spec)
        nn.init.normal_(network.input_layer.get_parameter("map_z.weight"), 0.0, self.latent**-0.5)
        return network

    def _input_layer(self, spec: ImageSpec) -> tuple[nn.Module, int]:
        return ConditionalInput(
            self.latent, _classes(spec), self.label_embedding_dim
        ), self.latent + self.label_embedding_dim

    def _head(self, spec: ImageSpec, features: int) -> nn.Module:
        return ConditionalHead(features, _classes(spec), self.joint_units)


def _classes(spec: ImageSpec) -> int:
    if spec.classes < 1:
        raise ConfigError("architecture=cgan: the data have no classes to condition on; use architecture=dcgan")
    return spec.classes

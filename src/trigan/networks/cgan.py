"""Conditional GAN: Mirza & Osindero 2014 (1411.1784) on the DCGAN's body."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.checks import require_at_least
from trigan.networks.convolutional import SLOPE
from trigan.networks.dcgan import DCGAN
from trigan.networks.shapes import Shapes


def _require_labels(player: str, y: Tensor | None) -> Tensor:
    if y is None:
        raise ConfigError(f"a conditional {player} needs labels: pass y, int64 of shape (N,)")
    return y


class LatentAndLabel(nn.Module):
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


class JointJudge(nn.Module):
    """Image features (N, F) and a label's code (N, code) in one joint hidden layer, then the logit (N, 1)."""

    def __init__(self, features: int, classes: int, code: int, hidden: int) -> None:
        super().__init__()
        self.map_y = nn.Embedding(classes, code)
        self.joint = nn.Linear(features + code, hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        codes = F.leaky_relu(self.map_y(_require_labels("discriminator", y)), SLOPE)
        return self.logit(F.leaky_relu(self.joint(torch.cat([features, codes], dim=1)), SLOPE))


@dataclass(frozen=True)
class CGAN(DCGAN):
    """DCGAN whose G draws an image for a label, and whose D judges the pair of image and label.

    The label enters D after its convolutions, so their features are label-free.

    Attributes:
        label_code: length of a label's own hidden layer, in G and in D, >= 1.
        joint: units of D's joint hidden layer, >= 1.
    """

    label_code: int = 64
    joint: int = 128

    conditional: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("label_code", "joint"):
            require_at_least(f"architecture.{name}", getattr(self, name), 1)

    def _entrance(self, spec: Shapes) -> tuple[nn.Module, int]:
        return LatentAndLabel(self.latent, _classes(spec), self.label_code), self.latent + self.label_code

    def _judge(self, spec: Shapes, features: int) -> nn.Module:
        return JointJudge(features, _classes(spec), self.label_code, self.joint)


def _classes(spec: Shapes) -> int:
    if spec.classes < 1:
        raise ConfigError("architecture=cgan: the data have no classes to condition on; use architecture=dcgan")
    return spec.classes

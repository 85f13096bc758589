"""SNGAN with residual blocks (Miyato et al. 2018, 1802.05957), and its conditional form (1802.05637)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.gans.gan import Discriminator, Generator, require_labels
from trigan.networks.gans.residual import ProjectionHead, ResidualBackbone, ResidualUpsampler
from trigan.networks.shapes import ImageSpec, require_supported
from trigan.networks.weight_norm import apply_spectral_norm

#: Norm of a residual D: never batch norm.
ResidualNorm = Literal["spectral", "none"]


class _OneHotInput(nn.Module):
    """z (N, latent) and y (N,) -> z with the one-hot label (N, latent + classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        labels = F.one_hot(require_labels(y), self.classes)
        return torch.cat([z, labels.to(z.dtype)], dim=1)


@component("architecture/sngan@1")
@dataclass(frozen=True)
class SNGAN:
    """Residual blocks: batch norm in G, spectral norm in D, whose logit is linear in the sum over its last map.

    As in the authors' code, weights are Glorot uniform, those of the blocks' 3x3 convolutions with gain sqrt(2). The
    paper's networks for CIFAR-10 have 256 (G) and 128 (D) channels at all levels; here channels grow as in DCGAN.

    Attributes:
        width: channels at half the image's size, >= 1; the level of the image has half as many.
        latent: length of z, >= 1.
        max_multiplier: channels stop growing at ``width * max_multiplier``, >= 1.
        discriminator_norm: ``spectral`` (every weight of D over its largest singular value) or ``none``.
    """

    width: int = 32
    latent: int = 64
    max_multiplier: int = 8
    discriminator_norm: ResidualNorm = "spectral"

    conditional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_residual(self.width, self.latent, self.max_multiplier, self.discriminator_norm)

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of images of shape ``spec``."""
        classes = classes_of("projection", spec, self.conditional)
        body = ResidualUpsampler(spec, self.width, self.max_multiplier, (self.latent,), classes, None)
        network = Generator(_OneHotInput(classes) if classes else None, body, self.latent, classes)
        _initialize(network)
        return network

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of images of shape ``spec``."""
        classes = classes_of("projection", spec, self.conditional)
        backbone = ResidualBackbone(spec, self.width, self.max_multiplier)
        network = Discriminator(backbone, ProjectionHead(backbone.channels, classes))
        _initialize(network)
        if self.discriminator_norm == "spectral":
            apply_spectral_norm(network)
        return network


@component("architecture/projection@1")
@dataclass(frozen=True)
class Projection(SNGAN):
    """SNGAN with labels: in G each class has its own weights of batch norm, D's logit is psi(phi) + v_y . phi."""

    conditional: ClassVar[bool] = True


def check_residual(width: int, latent: int, max_multiplier: int, norm: str) -> None:
    """Raise a ConfigError for a setting out of range, by its name."""
    for name, value in (("width", width), ("latent", latent), ("max_multiplier", max_multiplier)):
        require_at_least(f"architecture.{name}", value, 1)
    norms = get_args(ResidualNorm)
    require(norm in norms, "architecture.discriminator_norm", norm, f"one of {', '.join(norms)}")


def classes_of(name: str, spec: ImageSpec, conditional: bool) -> int:
    """The number of classes that G and D of the architecture ``name`` take; 0 without labels."""
    require_supported(spec)
    if conditional and spec.classes < 1:
        raise ConfigError(f"architecture={name}: the data have no classes to condition on; use architecture=sngan")
    return spec.classes if conditional else 0


@torch.no_grad()
def _initialize(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding) and not name.endswith((".gain", ".shift")):
            in_block = name.endswith((".conv1", ".conv2"))
            nn.init.xavier_uniform_(module.weight, math.sqrt(2.0) if in_block else 1.0)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)

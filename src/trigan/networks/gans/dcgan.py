"""DCGAN: Radford, Metz & Chintala 2015 (1511.06434), for every image size from 8 to 128 by construction."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from trigan.components import component
from trigan.networks.gans.convolutional import ConvBackbone, Upsampler
from trigan.networks.gans.gan import Discriminator, Generator
from trigan.networks.initialization import initialize_normal
from trigan.networks.setting_checks import require_at_least, require_choice
from trigan.networks.shapes import ImageSpec, require_supported
from trigan.networks.spectral_norm import apply_spectral_norm

DiscriminatorNorm = Literal["batch", "none", "spectral"]


class UnconditionalInput(nn.Module):
    """The first part of an unconditional generator: z as it is; labels are not looked at."""

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        return z


class UnconditionalHead(nn.Module):
    """The head of an unconditional discriminator: one linear unit; labels are not looked at."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.logit = nn.Linear(features, 1)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        return self.logit(features)


@component("architecture/dcgan@1")
@dataclass(frozen=True)
class DCGAN:
    """Strided and transposed convolutions, batch norm, ReLU in G, LeakyReLU(0.2) in D, tanh, weights N(0, 0.02).

    The map is halved at least twice, odd sizes rounding up, and until it is at most 4 pixels wide (8, 4, 2; 28, 14, 7,
    4); channels double from ``width`` on.

    Attributes:
        width: channels of the level next to the image, >= 1.
        latent: length of z, >= 1.
        max_multiplier: channels stop growing at ``width * max_multiplier``, >= 1.
        discriminator_norm: ``batch`` (all of D's layers but the first), ``none`` (as a gradient penalty needs), or
            ``spectral`` (Miyato et al. 2018, 1802.05957: every weight of D over its largest singular value).
    """

    width: int = 32
    latent: int = 64
    max_multiplier: int = 8
    discriminator_norm: DiscriminatorNorm = "batch"

    conditional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("width", "latent", "max_multiplier"):
            require_at_least(f"architecture.{name}", getattr(self, name), 1)
        require_choice("architecture.discriminator_norm", self.discriminator_norm, ("batch", "none", "spectral"))

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of ``spec``'s images, drawn from torch's global random numbers."""
        require_supported(spec)
        input_layer, hidden = self._input_layer(spec)
        body = Upsampler(spec, hidden, self.width, self.max_multiplier)
        network = Generator(input_layer, body, self.latent, spec.classes if self.conditional else 0)
        initialize_normal(network)
        return network

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of ``spec``'s images, drawn from torch's global random numbers."""
        require_supported(spec)
        backbone = ConvBackbone(spec, self.width, self.max_multiplier, batch_norm=self.discriminator_norm == "batch")
        network = Discriminator(backbone, self._head(spec, backbone.num_features))
        initialize_normal(network)
        if self.discriminator_norm == "spectral":
            apply_spectral_norm(network)
        return network

    def _input_layer(self, spec: ImageSpec) -> tuple[nn.Module, int]:
        """The generator's first part, and the length of the hidden vector that it gives."""
        return UnconditionalInput(), self.latent

    def _head(self, spec: ImageSpec, features: int) -> nn.Module:
        """The discriminator's last part, on ``features`` values."""
        return UnconditionalHead(features)

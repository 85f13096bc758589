"""EDM (Karras, Aittala, Aila & Laine 2022, 2206.00364): a preconditioned denoiser and a deterministic sampler.

With classifier-free guidance (Ho & Salimans 2022, 2207.12598): one network with and without the label.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.diffusion.unet import UNet
from trigan.networks.gans.gan import ImageGenerator
from trigan.networks.shapes import ImageSpec, require_supported
from trigan.rng import Draws

#: Pixels of the images that are sampled at once: 256 images of 32 x 32.
_BLOCK_PIXELS = 2**18


@component("sampler/heun@1")
@dataclass(frozen=True)
class Heun:
    """Heun's second-order solver of the probability-flow ODE dx/dsigma = (x - D(x; sigma)) / sigma (algorithm 1).

    The noise levels are sigma_i = (sigma_max^(1/rho) + i / (N-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho, then 0
    (eq. 5); the last step is Euler's, so N ``steps`` evaluate D 2 N - 1 times.

    Attributes:
        steps: N, at least 2.
        sigma_min: smallest noise level above 0.
        sigma_max: noise level at the start.
        rho: larger values have more of the steps at small noise.
        guidance: weight w of the label, D = D(x) + w (D(x, y) - D(x)): 1 is the conditional model and 0 the
            unconditional one; any other weight evaluates both.
    """

    steps: int = 18
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        require_at_least("architecture.sampler.steps", self.steps, 2)
        low, high = self.sigma_min, self.sigma_max
        require(0.0 < low < high < math.inf, "architecture.sampler.sigma_min", low, f"above 0 and below {high}")
        require(self.rho > 0.0, "architecture.sampler.rho", self.rho, "above 0")
        require(self.guidance >= 0.0, "architecture.sampler.guidance", self.guidance, "0 or more")

    @property
    def noise_levels(self) -> list[float]:
        """The decreasing noise levels, ``steps`` of them and 0."""
        top, bottom = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        levels = [(top + i / (self.steps - 1) * (bottom - top)) ** self.rho for i in range(self.steps)]
        return [*levels, 0.0]

    def solve(self, denoise: Callable[[Tensor, float], Tensor], z: Tensor) -> Tensor:
        """The end of the path from sigma_max ``z``, for z (N, ...) ~ N(0, 1); ``denoise`` is D(x; sigma)."""
        levels = self.noise_levels
        x = z * levels[0]
        for sigma, following in pairwise(levels):
            slope = (x - denoise(x, sigma)) / sigma
            euler = x + (following - sigma) * slope
            if following > 0.0:
                slope = (slope + (euler - denoise(euler, following)) / following) / 2
            x = x + (following - sigma) * slope
        return x


class Denoiser(ImageGenerator):
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), table 1: inputs and targets of F have variance 1.

    As a generator it maps latents, which are the noise of an image, (N, C S S), to the image at the end of the
    sampler's path. Without a label (None, or -1) it is the unconditional model.
    """

    def __init__(self, network: UNet, spec: ImageSpec, sigma_data: float, sampler: Heun) -> None:
        super().__init__()
        self.network, self.sigma_data, self.sampler = network, sigma_data, sampler
        self.shape = (spec.channels, spec.size, spec.size)
        self.latent, self.classes = math.prod(self.shape), network.classes
        self.block = max(1, min(256, _BLOCK_PIXELS // spec.size**2))
        guided = self.classes > 0 and sampler.guidance not in (0.0, 1.0)
        self.passes = (2 * sampler.steps - 1) * (2 if guided else 1)

    def denoise(self, x: Tensor, sigma: Tensor, y: Tensor | None = None) -> Tensor:
        """Expected images, given noisy ones (N, C, S, S) with noise of standard deviation ``sigma`` (N,) > 0."""
        c_skip, c_out, c_in = (c[:, None, None, None] for c in self.scales(sigma))
        inner = self.network(c_in * x, sigma.log() / 4, y)
        expected: Tensor = c_skip * x + c_out * inner.to(x.dtype)
        return expected

    def scales(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c_skip, c_out and c_in, each (N,)."""
        total = (sigma.square() + self.sigma_data**2).sqrt()
        return self.sigma_data**2 / total.square(), sigma * self.sigma_data / total, 1.0 / total

    def weight(self, sigma: Tensor) -> Tensor:
        """Weight of the squared error, (N,): 1 / c_out^2, so that every noise level has the same loss at the start."""
        return (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data).square()

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (N, latent) ~ N(0, 1) and labels (N,) or None -> images (N, C, S, S) in [-1, 1]."""
        weight = self.sampler.guidance if y is not None and self.classes else 0.0

        def guided(x: Tensor, sigma: float) -> Tensor:
            levels = torch.full_like(x[:, 0, 0, 0], sigma)
            if weight == 1.0:
                return self.denoise(x, levels, y)
            free = self.denoise(x, levels)
            return free + weight * (self.denoise(x, levels, y) - free) if weight else free

        return self.sampler.solve(guided, z.view(-1, *self.shape)).clamp(-1.0, 1.0)


class DenoiserBackbone(nn.Module):
    """A denoiser's feature maps of an image, without a label, at one noise level, as a backbone (2303.09769).

    The noise is the same for every image, so that an image's features are a function of the image alone.
    """

    noise: Tensor

    def __init__(self, denoiser: Denoiser, sigma: float) -> None:
        super().__init__()
        self.denoiser, self.sigma = denoiser, sigma
        noise = Draws.of_rows(0, 0, 1).normal("noise of features", *denoiser.shape)
        self.register_buffer("noise", noise.to(next(denoiser.parameters())), persistent=False)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, C_i, S_i, S_i) of images (N, C, S, S), input side first: ``down1``, ``down2``, ..., ``up1``."""
        sigma = torch.full_like(x[:, 0, 0, 0], self.sigma)
        c_in = self.denoiser.scales(sigma)[2][:, None, None, None]
        return self.denoiser.network.features(c_in * (x + self.sigma * self.noise), sigma.log() / 4, None)


@component("architecture/edm@1")
@dataclass(frozen=True)
class EDM:
    """A small diffusion model for images of 8 to 128 pixels; new weights are drawn from torch's global generator.

    Attributes:
        width: channels of the level next to the image, >= 1; twice as many further in, up to ``max_multiplier`` times.
        max_multiplier: see ``width``.
        blocks: residual blocks of each level, on each side, >= 1.
        attention_size: the largest map with attention, in pixels; maps of the image's size have none.
        conditional: whether it takes labels. It is then also the unconditional model, and images without a label train
            it, too.
        sigma_data: standard deviation of pixel values that the preconditioning supposes.
        sampler: how images are drawn; it does not affect training.
        feature_sigma: noise level at which feature maps are taken, for ``strategy=features``.
    """

    width: int = 16
    max_multiplier: int = 4
    blocks: int = 1
    attention_size: int = 8
    conditional: bool = True
    sigma_data: float = 0.5
    sampler: Heun = field(default_factory=Heun, metadata={"identity": False})
    feature_sigma: float = 0.1

    #: Images without a label train it, too.
    needs_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("max_multiplier", 1), ("blocks", 1), ("attention_size", 0)):
            require_at_least(f"architecture.{name}", getattr(self, name), least)
        for name in ("sigma_data", "feature_sigma"):
            require(getattr(self, name) > 0.0, f"architecture.{name}", getattr(self, name), "above 0")

    def generator(self, spec: ImageSpec) -> Denoiser:
        """A new denoiser of images of shape ``spec``."""
        require_supported(spec)
        if self.conditional and spec.classes < 1:
            raise ConfigError("architecture.conditional=true: the data have no classes; set it to false")
        channels, classes = (self.width, self.max_multiplier), spec.classes if self.conditional else 0
        network = UNet(spec, channels, self.blocks, self.attention_size, classes)
        return Denoiser(network, spec, self.sigma_data, self.sampler)

    def backbone(self, denoiser: Denoiser) -> DenoiserBackbone:
        """The feature maps of a trained denoiser."""
        return DenoiserBackbone(denoiser, self.feature_sigma)

    def discriminator(self, spec: ImageSpec) -> DenoiserBackbone:
        """The feature maps of a new denoiser, in the place of a discriminator, of which there is none."""
        return self.backbone(self.generator(spec))


def refuse_diffusion(architecture: object) -> None:
    """Raise a ConfigError where an architecture must be a GAN's, and is a diffusion model."""
    if isinstance(architecture, EDM):
        raise ConfigError(
            "architecture=edm: this needs a GAN's G and D, and a diffusion model has neither; set another "
            "architecture, such as cgan, or use it in strategy=augment or strategy=features"
        )

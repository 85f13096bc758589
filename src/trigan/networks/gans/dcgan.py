"""DCGAN (Radford, Metz & Chintala 2015, 1511.06434) for every image size from 8 to 512 by construction.

On its body stands the conditional GAN, CGAN (Mirza & Osindero 2014, 1411.1784).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.gans.gan import ConvBackbone, Discriminator, Generator, Upsampler, label_vectors, require_labels
from trigan.networks.gans.minibatch_std import MinibatchStd
from trigan.networks.shapes import ImageSpec, map_sizes, require_supported
from trigan.networks.weight_norm import apply_spectral_norm

DiscriminatorNorm = Literal["batch", "none", "spectral"]

MAXOUT_PIECES = 4


class _UnconditionalHead(nn.Module):
    """The head of an unconditional discriminator, (N, F) -> (N, 1): one linear unit; labels are ignored."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.logit = nn.Linear(features, 1)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        logits: Tensor = self.logit(features)
        return logits


@component("architecture/dcgan@1")
@dataclass(frozen=True)
class DCGAN:
    """Strided and transposed convolutions, batch norm, ReLU in G, LeakyReLU(0.2) in D, tanh, weights N(0, 0.02).

    The map is halved at least twice, odd sizes rounding up, and until it is at most 4 pixels wide (8, 4, 2; 28, 14, 7,
    4); channels double from ``width`` on. New weights are drawn from torch's global generator.

    Attributes:
        width: channels of the level next to the image, >= 1.
        latent: length of z, >= 1.
        max_multiplier: channels stop growing at ``width * max_multiplier``, >= 1.
        discriminator_norm: ``batch`` (all of D's layers but the first), ``none`` (as a gradient penalty needs), or
            ``spectral`` (Miyato et al. 2018, 1802.05957: every weight of D over its largest singular value).
        minibatch_std: images in a group of D's minibatch standard deviation, >= 2; 0: none.
    """

    width: int = 32
    latent: int = 64
    max_multiplier: int = 8
    discriminator_norm: DiscriminatorNorm = "batch"
    minibatch_std: int = 0

    conditional: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("width", "latent", "max_multiplier"):
            require_at_least(f"architecture.{name}", getattr(self, name), 1)
        norms = get_args(DiscriminatorNorm)
        group = self.minibatch_std
        require(group == 0 or group >= 2, "architecture.minibatch_std", group, "0 (none), or a group of at least 2")
        is_known = self.discriminator_norm in norms
        require(is_known, "architecture.discriminator_norm", self.discriminator_norm, f"one of {', '.join(norms)}")

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of images of shape ``spec``."""
        require_supported(spec)
        input_layer, hidden = self._input_layer(spec)
        body = Upsampler(spec, hidden, self.width, self.max_multiplier)
        network = Generator(input_layer, body, self.latent, spec.classes if self.conditional else 0)
        _initialize(network)
        return network

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of images of shape ``spec``."""
        require_supported(spec)
        backbone = ConvBackbone(spec, self.width, self.max_multiplier, batch_norm=self.discriminator_norm == "batch")
        statistic = MinibatchStd(self.minibatch_std) if self.minibatch_std else None
        further = map_sizes(spec.size)[-1] ** 2 if statistic else 0  # values of the further map
        network = Discriminator(backbone, self._head(spec, backbone.num_features + further), statistic)
        _initialize(network)
        if self.discriminator_norm == "spectral":
            apply_spectral_norm(network)
        return network

    def _input_layer(self, spec: ImageSpec) -> tuple[nn.Module | None, int]:
        """The generator's input layer, if any, and the length of its hidden vector."""
        return None, self.latent

    def _head(self, spec: ImageSpec, features: int) -> nn.Module:
        """The discriminator's head on ``features`` values."""
        return _UnconditionalHead(features)


class _ConditionalInput(nn.Module):
    """A hidden layer for z (N, latent) and one for y (N,), concatenated: (N, latent + code).

    The paper's joint hidden layer is the generator's projection to its smallest map.
    """

    def __init__(self, latent: int, classes: int, code: int) -> None:
        super().__init__()
        self.map_z = nn.Linear(latent, latent)
        self.map_y = nn.Embedding(classes, code)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        codes = self.map_y(require_labels(y))
        return torch.cat([F.relu(self.map_z(z)), F.relu(codes)], dim=1)


class _ConditionalHead(nn.Module):
    """A joint maxout layer of image features (N, F) and label (N,), then a linear logit (N, 1).

    As in the paper, maxout units have 4 pieces, of which each label selects others: features get other weights for
    every label. With LeakyReLU units D hardly depended on the label in its first thousand steps. An image without a
    label has one piece of every unit, by the quantiles of N(0, 1) as its code. The code is not learnt, which costs no
    generality, since the bias of ``map_x`` is; with 0 in its place G learns more slowly (on digits).
    """

    missing: Tensor

    def __init__(self, features: int, classes: int, units: int) -> None:
        super().__init__()
        self.map_x = nn.Linear(features, units * MAXOUT_PIECES)
        self.map_y = nn.Embedding(classes, units * MAXOUT_PIECES)
        self.logit = nn.Linear(units, 1)
        quantiles = torch.special.ndtri((torch.arange(MAXOUT_PIECES) + 0.5) / MAXOUT_PIECES)
        self.register_buffer("missing", quantiles.repeat(units), persistent=False)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        pieces = self.map_x(features) + label_vectors(self.map_y, y, self.missing)
        logits: Tensor = self.logit(pieces.view(len(pieces), -1, MAXOUT_PIECES).amax(2))
        return logits


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
        nn.init.normal_(network.get_parameter("input_layer.map_z.weight"), 0.0, self.latent**-0.5)
        return network

    def _input_layer(self, spec: ImageSpec) -> tuple[nn.Module | None, int]:
        layer = _ConditionalInput(self.latent, _classes(spec), self.label_embedding_dim)
        return layer, self.latent + self.label_embedding_dim

    def _head(self, spec: ImageSpec, features: int) -> nn.Module:
        return _ConditionalHead(features, _classes(spec), self.joint_units)


def _classes(spec: ImageSpec) -> int:
    if spec.classes < 1:
        raise ConfigError("architecture=cgan: the data have no classes to condition on; use architecture=dcgan")
    return spec.classes


@torch.no_grad()
def _initialize(network: nn.Module) -> None:
    """Radford et al. 2015, section 4: weights N(0, 0.02), batch-norm weights N(1, 0.02), biases 0.

    Embeddings are N(0, 1): a label's code then has the scale of the latent that it is concatenated with.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, 1.0)

"""R3GAN (Huang et al. 2024, 2501.05441) in small: residual networks without normalisation, with and without labels."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.checks import require_at_least
from trigan.component_ids import component
from trigan.networks.gans.biggan import EmbeddedInput
from trigan.networks.gans.gan import Backbone, Discriminator, Generator, GeneratorBody, label_vectors
from trigan.networks.gans.residual import levels
from trigan.networks.gans.sngan import classes_of
from trigan.networks.shapes import ImageSpec
from trigan.networks.weight_norm import LEAKY_RELU_GAIN

#: Channels per group of the 3x3 convolutions, and expansion of the 1x1 convolutions before them, as the authors have.
GROUP_WIDTH, EXPANSION = 16, 2


class _InvertedBottleneck(nn.Module):
    """x + W3 a(W2 a(W1 x)): 1x1 convolution to twice the channels, grouped 3x3, 1x1 back; a is LeakyReLU(0.2).

    Initial weights as in Fixup (Zhang et al. 2019, 1901.09321): those of W1 and W2 are scaled by ``blocks`` to the
    power of -1/4, where ``blocks`` is the number of blocks of the network, and W3 is 0.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.expand = nn.Conv2d(channels, wide, 1)
        self.group = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // math.gcd(wide, GROUP_WIDTH))
        self.reduce = nn.Conv2d(wide, channels, 1, bias=False)
        for layer in (self.expand, self.group):
            _initialize(layer, LEAKY_RELU_GAIN * blocks**-0.25)
        nn.init.zeros_(self.reduce.weight)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.leaky_relu(self.group(F.leaky_relu(self.expand(x), 0.2)), 0.2)
        added: Tensor = self.reduce(residual)
        return x + added


class _Transition(nn.Module):
    """A 1x1 convolution, after bilinear halving (``size`` None) or before bilinear doubling to maps of ``size``."""

    def __init__(self, channels_in: int, channels_out: int, size: int | None) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        _initialize(self.conv, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        if self.size is None:
            halved: Tensor = self.conv(halve_bilinearly(x))
            return halved
        doubled = F.interpolate(self.conv(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return doubled[..., : self.size, : self.size]


def halve_bilinearly(x: Tensor) -> Tensor:
    """Filter [1, 3, 3, 1] / 8 along both axes, every second pixel: (N, C, S, S) -> (N, C, ceil(S/2), ceil(S/2)).

    Outside of the map are zeros; of an odd map the last row and column are repeated.
    """
    odd, channels = int(x.shape[-1]) % 2, int(x.shape[1])
    x = F.pad(x, (0, odd, 0, odd), mode="replicate") if odd else x
    line = 0.5 - 0.25 * (torch.arange(4, dtype=x.dtype, device=x.device) - 1.5).abs()
    kernel = torch.outer(line, line).expand(channels, 1, 4, 4)
    return F.conv2d(x, kernel, stride=2, padding=1, groups=channels)


class _Backbone(Backbone):
    """Blocks and a transition for each halving, then blocks at the smallest size. The maps have had no activation."""

    stage_name = "block"

    def __init__(self, spec: ImageSpec, width: int, max_multiplier: int, blocks: int) -> None:
        super().__init__()
        sizes, widths = levels(spec, width, max_multiplier)
        total = blocks * len(sizes)
        image = nn.Conv2d(spec.channels, widths[0], 1, bias=False)
        _initialize(image, 1.0)
        stages = [nn.Sequential(*(_InvertedBottleneck(one, total) for _ in range(blocks))) for one in widths]
        stages[0].insert(0, image)
        for stage, (one, other) in zip(stages, pairwise(widths), strict=False):
            stage.append(_Transition(one, other, None))
        self.stages = nn.Sequential(*stages)
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.num_features = widths[-1] * sizes[-1] ** 2


class _Head(nn.Module):
    """Each channel's map weighted and summed, then a linear logit (N, 1), or the product with the label's embedding.

    An image without a label has a constant vector, of the embeddings' initial length, in the place of an embedding. It
    is not learnt, which costs no generality, since the layer before it is.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, size, _ = shape
        self.shape = shape
        self.basis = nn.Parameter(torch.randn(shape) / size)
        self.project = nn.Linear(channels, channels if classes else 1, bias=False)
        _initialize(self.project, 1.0)
        self.label = nn.Embedding(classes, channels) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, 0.0, (channels * classes) ** -0.5)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        """Flattened maps (N, C * S * S) -> logits (N, 1)."""
        sums = (features.view(-1, *self.shape) * self.basis).sum((2, 3))
        projected: Tensor = self.project(sums)
        if self.label is None:
            return projected
        missing = projected.new_full((), self.label.weight.numel() ** -0.5)
        return (projected * label_vectors(self.label, y, missing)).sum(1, keepdim=True)


class _Upsampler(GeneratorBody):
    """A learnt map scaled by the hidden vector, blocks, and for each doubling a transition and blocks; tanh."""

    def __init__(self, spec: ImageSpec, inputs: int, width: int, max_multiplier: int, blocks: int) -> None:
        super().__init__()
        sizes, widths = levels(spec, width, max_multiplier)
        total = blocks * len(sizes)
        self.inputs = inputs
        self.basis = nn.Parameter(torch.randn(widths[-1], sizes[-1], sizes[-1]))
        self.project = nn.Linear(inputs, widths[-1], bias=False)
        self.image = nn.Conv2d(widths[0], spec.channels, 1, bias=False)
        _initialize(self.project, 1.0)
        _initialize(self.image, 1.0)
        layers: list[nn.Module] = []
        for level in reversed(range(len(sizes))):
            if level + 1 < len(sizes):
                layers.append(_Transition(widths[level + 1], widths[level], sizes[level]))
            layers += [_InvertedBottleneck(widths[level], total) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden vectors (N, ``inputs``) -> images (N, channels, size, size) in [-1, 1]."""
        images: Tensor = self.image(self.layers(self.basis * self.project(hidden)[..., None, None]))
        return images.tanh()


@component("architecture/r3gan@1")
@dataclass(frozen=True)
class R3GAN:
    """Inverted bottlenecks with grouped convolutions, bilinear resampling, Fixup-like weights, no normalisation.

    Labels enter G beside z, as an embedding, and D as the product of its last features with an embedding (authors'
    code). Theirs has 768 channels and 2 blocks at all levels, and no tanh. The paper's loss is the relativistic paired
    loss with R1 and R2.

    Attributes:
        width: channels at half the image's size, >= 1; the level of the image has half as many.
        latent: length of z, and of the label's embedding in G, >= 1.
        max_multiplier: channels stop growing at ``width * max_multiplier``, >= 1.
        blocks: residual blocks at each map size, >= 1.
        conditional: whether G and D take labels.
    """

    width: int = 32
    latent: int = 64
    max_multiplier: int = 8
    blocks: int = 1
    conditional: bool = False

    discriminator_norm: ClassVar[str] = "none"

    def __post_init__(self) -> None:
        for name in ("width", "latent", "max_multiplier", "blocks"):
            require_at_least(f"architecture.{name}", getattr(self, name), 1)

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of images of shape ``spec``."""
        classes = classes_of("r3gan", spec, self.conditional)
        inputs = 2 * self.latent if classes else self.latent
        body = _Upsampler(spec, inputs, self.width, self.max_multiplier, self.blocks)
        layer = EmbeddedInput(classes, self.latent) if classes else None
        if layer is not None:
            nn.init.normal_(layer.label.weight, 0.0, classes**-0.5)
        return Generator(layer, body, self.latent, classes)

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of images of shape ``spec``."""
        classes = classes_of("r3gan", spec, self.conditional)
        backbone = _Backbone(spec, self.width, self.max_multiplier, self.blocks)
        return Discriminator(backbone, _Head(backbone.shape, classes))


def _initialize(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Weights N(0, gain^2 / number of inputs), biases 0 (He et al. 2015, 1502.01852)."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

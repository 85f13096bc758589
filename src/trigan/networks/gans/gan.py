"""Generator and discriminator: a convolutional body each, and an input layer or head that may depend on labels.

The bodies here are those of the DCGAN family: a backbone that halves the map, and an upsampler that doubles it.
"""

from itertools import pairwise
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.gans.minibatch_std import MinibatchStd
from trigan.networks.shapes import ImageSpec, channels_per_level, map_sizes

#: 5x5 kernels, as in Radford et al. 2015: with stride 2 and padding 2 any size S becomes ceil(S/2).
KERNEL_SIZE, PADDING = 5, 2


class _DownsamplingBlock(nn.Module):
    """Strided convolution, optional batch norm, LeakyReLU(0.2): (N, C, S, S) -> (N, C', ceil(S/2), ceil(S/2))."""

    def __init__(self, channels_in: int, channels_out: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, KERNEL_SIZE, stride=2, padding=PADDING, bias=not batch_norm)
        self.norm = BatchNorm2d(channels_out) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return F.leaky_relu(x, 0.2)


class Backbone(nn.Module):
    """Stages that an image passes through, without labels; ``num_features`` values in the last map.

    A subclass gives the stages, and ``stage_name`` for the names of their maps: ``conv1``, ``conv2``, ...
    """

    stages: nn.Sequential
    num_features: int
    stage_name: ClassVar[str] = "conv"

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, channels, size, size) -> the last map (N, C, S, S)."""
        last: Tensor = self.stages(x)
        return last

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's output by name, input side first; the last is the output of `forward`."""
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = maps[f"{self.stage_name}{number}"] = stage(x)
        return maps


class ConvBackbone(Backbone):
    """Downsampling blocks; batch norm in none, or in all but the first."""

    def __init__(self, spec: ImageSpec, width: int, max_multiplier: int, batch_norm: bool) -> None:
        super().__init__()
        sizes = map_sizes(spec.size)
        widths = channels_per_level(width, len(sizes) - 1, max_multiplier)
        self.stages = nn.Sequential(
            *(
                _DownsamplingBlock(channels_in, channels_out, batch_norm and level > 0)
                for level, (channels_in, channels_out) in enumerate(pairwise((spec.channels, *widths)))
            )
        )
        self.num_features = widths[-1] * sizes[-1] ** 2


def upsampling_conv(channels_in: int, channels_out: int, size: int, bias: bool) -> nn.ConvTranspose2d:
    """The transposed convolution from maps of ceil(size/2) to maps of exactly ``size``."""
    extra = 1 - size % 2  # without it, n becomes 2n - 1
    return nn.ConvTranspose2d(channels_in, channels_out, KERNEL_SIZE, 2, PADDING, output_padding=extra, bias=bias)


class _UpsamplingBlock(nn.Module):
    """Transposed convolution, batch norm, ReLU, from maps of ceil(size/2) to maps of ``size``."""

    def __init__(self, channels_in: int, channels_out: int, size: int) -> None:
        super().__init__()
        self.conv = upsampling_conv(channels_in, channels_out, size, bias=False)
        self.norm = BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class GeneratorBody(nn.Module):
    """Hidden vectors (N, ``inputs``) -> images (N, channels, size, size) in [-1, 1]."""

    inputs: int


class Upsampler(GeneratorBody):
    """A projection to the smallest map and upsampling blocks: the backbone's map sizes in reverse."""

    def __init__(self, spec: ImageSpec, inputs: int, width: int, max_multiplier: int) -> None:
        super().__init__()
        sizes = map_sizes(spec.size)
        widths = channels_per_level(width, len(sizes) - 1, max_multiplier)
        self.inputs = inputs
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.project = nn.Linear(inputs, widths[-1] * sizes[-1] ** 2, bias=False)
        self.norm = BatchNorm2d(widths[-1])
        levels = range(len(widths) - 1, 0, -1)
        self.stages = nn.Sequential(*(_UpsamplingBlock(widths[n], widths[n - 1], sizes[n]) for n in levels))
        self.image = upsampling_conv(widths[0], spec.channels, spec.size, bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden vectors (N, inputs) -> images (N, channels, size, size) in [-1, 1]."""
        first = self.project(hidden).view(-1, *self.shape)
        images: Tensor = self.image(self.stages(F.relu(self.norm(first))))
        return images.tanh()


class ImageGenerator(nn.Module):
    """A `Generator`, or several as one: latents (N, ``latent``) and labels -> images.

    ``classes`` is 0 if it takes no labels. The last ``selector_dims`` latents select a member; no transform of the
    latents touches them. Samples are drawn in blocks of ``block``, each of which needs ``passes`` forward passes.
    """

    latent: int
    classes: int
    selector_dims: int = 0
    block: int = 256
    passes: int = 1


class Generator(ImageGenerator):
    """An input layer, (z, y) -> hidden vector (without the layer it is z), and a body, hidden vector -> images."""

    def __init__(self, input_layer: nn.Module | None, body: GeneratorBody, latent: int, classes: int) -> None:
        super().__init__()
        self.input_layer, self.body = input_layer, body
        self.latent, self.classes = latent, classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Latents (N, latent) ~ N(0, 1), and labels (N,) if conditional, -> images (N, C, S, S) in [-1, 1]."""
        images: Tensor = self.body(z if self.input_layer is None else self.input_layer(z, y))
        return images


class Discriminator(nn.Module):
    """A backbone, images -> the last map, label-free; and a head, (flattened last map (N, F), y) -> logits (N, 1).

    ``statistic`` adds a map to the last one, for the head alone. A conditional D has a logit of an image without a
    label, too (y is -1, or None for all): log p(x)/q(x) in the place of log p(x, y)/q(x, y) if D is optimal.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, statistic: MinibatchStd | None = None) -> None:
        super().__init__()
        self.backbone, self.head, self.statistic = backbone, head, statistic

    def _top(self, x: Tensor) -> Tensor:
        """The input of the head, (N, F)."""
        last: Tensor = self.backbone(x)
        return (last if self.statistic is None else self.statistic(last)).flatten(1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, C, S, S), and labels (N,), -1: none, if conditional, -> logits (N,), positive for real."""
        logits: Tensor = self.head(self._top(x), y)
        return logits.squeeze(1)

    def logits_for_every_label(self, x: Tensor, classes: int) -> Tensor:
        """Logits (N, classes) of each image with every label, from one pass of the backbone."""
        top = self._top(x)
        labels = torch.arange(classes, device=x.device)[:, None].expand(classes, len(x))
        return torch.cat([self.head(top, y) for y in labels], dim=1)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The backbone's maps, (N, C_i, S_i, S_i), input side first; they are label-free."""
        return self.backbone.features(x)


def require_labels(y: Tensor | None) -> Tensor:
    """The labels of a conditional generator; a ConfigError without them."""
    if y is None:
        raise ConfigError("a conditional generator needs labels: pass y, int64 of shape (N,)")
    return y


def label_vectors(embedding: nn.Module, y: Tensor | None, missing: Tensor) -> Tensor:
    """The vectors (N, F) of the labels y (N,) of a D; ``missing``, (F,) or (), where there is none (-1).

    Without labels at all (None) it is ``missing`` alone.
    """
    return missing if y is None else torch.where((y >= 0)[:, None], embedding(y.clamp_min(0)), missing)


class Architecture(Protocol):
    """A factory of generators and discriminators: any frozen dataclass with these members."""

    @property
    def conditional(self) -> bool:
        """Whether G and D take labels."""

    @property
    def discriminator_norm(self) -> str:
        """``batch``, ``none`` or ``spectral``."""

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of images of shape ``spec``."""

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of images of shape ``spec``."""

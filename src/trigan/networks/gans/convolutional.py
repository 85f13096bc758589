"""The convolutional bodies of the DCGAN family: a backbone that halves the map, an upsampler that doubles it."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.shapes import ImageSpec, channels_per_level, map_sizes

LEAKY_RELU_SLOPE = 0.2

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
        return F.leaky_relu(x, LEAKY_RELU_SLOPE)


class ConvBackbone(nn.Module):
    """Downsampling blocks; batch norm in none, or in all but the first.

    Attributes:
        shape: (C, S, S) of the last map.
        num_features: its number of values.
    """

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
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.num_features = widths[-1] * sizes[-1] ** 2

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, channels, size, size) -> the last map (N, C, S, S)."""
        last: Tensor = self.stages(x)
        return last

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's output (after its activation) as ``conv1``, ``conv2``, ..., input side first."""
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = maps[f"conv{number}"] = stage(x)
        return maps


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


class Upsampler(nn.Module):
    """A projection to the smallest map and upsampling blocks: the backbone's map sizes in reverse."""

    def __init__(self, spec: ImageSpec, inputs: int, width: int, max_multiplier: int) -> None:
        super().__init__()
        sizes = map_sizes(spec.size)
        widths = channels_per_level(width, len(sizes) - 1, max_multiplier)
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

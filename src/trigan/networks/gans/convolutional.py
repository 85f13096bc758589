"""The two convolutional bodies of the DCGAN family: a backbone that halves the map, a stack that doubles it."""

import torch.nn.functional as F
from torch import Tensor, nn

from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.shapes import ImageSpec, channels_per_level, map_sizes

LEAKY_RELU_SLOPE = 0.2

#: 5x5 kernels, as in Radford et al. 2015: with stride 2 and padding 2 any size S becomes ceil(S/2).
KERNEL_SIZE, PADDING = 5, 2


class DownsamplingBlock(nn.Module):
    """Strided convolution, batch norm if asked for, LeakyReLU(0.2): (N, C, S, S) -> (N, C', ceil(S/2), ceil(S/2))."""

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
    """Images (N, channels, size, size) -> the top map; batch norm nowhere, or everywhere but on the first layer.

    ``shape`` is the top map's (C, S, S), ``num_features`` its number of values.
    """

    def __init__(self, spec: ImageSpec, width: int, max_multiplier: int, batch_norm: bool) -> None:
        super().__init__()
        sizes = map_sizes(spec.size)
        widths = channels_per_level(width, len(sizes) - 1, max_multiplier)
        self.stages = nn.ModuleList(
            DownsamplingBlock(channels_in, channels_out, batch_norm and level > 0)
            for level, (channels_in, channels_out) in enumerate(zip((spec.channels, *widths[:-1]), widths, strict=True))
        )
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.num_features = widths[-1] * sizes[-1] ** 2

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Every stage's output (after its activation) as ``conv1``, ``conv2``, ..., input side first."""
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = maps[f"conv{number}"] = stage(x)
        return maps


def upsampling_conv(channels_in: int, channels_out: int, size: int, bias: bool) -> nn.ConvTranspose2d:
    """The transposed convolution from maps of ceil(size/2) to maps of exactly ``size``."""
    surplus = 1 - size % 2  # without it, n becomes 2n - 1
    return nn.ConvTranspose2d(channels_in, channels_out, KERNEL_SIZE, 2, PADDING, output_padding=surplus, bias=bias)


class UpsamplingBlock(nn.Module):
    """Transposed convolution, batch norm, ReLU: the mirror image of :class:`DownsamplingBlock`, back to map size ``size``."""

    def __init__(self, channels_in: int, channels_out: int, size: int) -> None:
        super().__init__()
        self.conv = upsampling_conv(channels_in, channels_out, size, bias=False)
        self.norm = BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class Upsampler(nn.Module):
    """A hidden vector (N, inputs) -> images (N, channels, size, size) in [-1, 1]: the backbone's chain, backwards."""

    def __init__(self, spec: ImageSpec, inputs: int, width: int, max_multiplier: int) -> None:
        super().__init__()
        sizes = map_sizes(spec.size)
        widths = channels_per_level(width, len(sizes) - 1, max_multiplier)
        self.shape = (widths[-1], sizes[-1], sizes[-1])
        self.project = nn.Linear(inputs, widths[-1] * sizes[-1] ** 2, bias=False)
        self.norm = BatchNorm2d(widths[-1])
        self.stages = nn.Sequential(
            *(
                UpsamplingBlock(widths[level], widths[level - 1], sizes[level])
                for level in range(len(widths) - 1, 0, -1)
            )
        )
        self.image = upsampling_conv(widths[0], spec.channels, spec.size, bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        first = self.project(hidden).view(-1, *self.shape)
        return self.image(self.stages(F.relu(self.norm(first)))).tanh()

"""Weight norm, weights as length times direction: Salimans & Kingma 2016 (1602.07868), eq. 2.

There lengths and biases begin where a first batch puts them; here lengths begin where the layer's gain says, so that
the first weights are the seed's alone.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError

#: Lengths that keep the size of values behind ReLU and behind LeakyReLU(0.2): He et al. 2015 (1502.01852), eq. 15.
RELU_GAIN, LEAKY_RELU_GAIN = math.sqrt(2.0), math.sqrt(2.0 / (1.0 + 0.2**2))


def _weight(direction: Tensor, scale: Tensor) -> Tensor:
    """Eq. 2 for each row: ``scale * direction / |direction|``, the length taken over all dimensions but the first."""
    length = direction.square().sum(tuple(range(1, direction.ndim)), keepdim=True).sqrt()
    return direction * (scale / length)


class WeightNormLinear(nn.Module):
    """A linear layer whose weight rows are ``scale * direction / |direction|``.

    (N, in) -> (N, out). Directions begin at N(0, ``std``), scales at sqrt(2): after a ReLU the values keep their size.
    What ``std`` decides is how fast Adam turns a direction: a step of its rate turns a long one less.
    """

    def __init__(self, in_features: int, out_features: int, std: float) -> None:
        super().__init__()
        self.direction = nn.Parameter(std * torch.randn(out_features, in_features))
        self.scale = nn.Parameter(torch.full((out_features, 1), RELU_GAIN))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, _weight(self.direction, self.scale), self.bias)

    def extra_repr(self) -> str:
        return f"{self.direction.shape[1]}, {self.direction.shape[0]}"


class WeightNormConv2d(nn.Module):
    """The same for a convolution, a length and a direction for each channel that comes out; LeakyReLU(0.2)'s gain.

    (N, in, S, S) -> (N, out, S', S') with S' as of ``nn.Conv2d`` of this kernel, stride and padding.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, std: float, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.direction = nn.Parameter(std * torch.randn(channels_out, channels_in, kernel, kernel))
        self.scale = nn.Parameter(torch.full((channels_out, 1, 1, 1), LEAKY_RELU_GAIN))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, _weight(self.direction, self.scale), self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        channels_out, channels_in, kernel, _ = self.direction.shape
        return f"{channels_in}, {channels_out}, kernel={kernel}, stride={self.stride}, padding={self.padding}"


def require_std(setting: str, value: float) -> None:
    """Raise a :class:`ConfigError` that names the setting unless ``value`` is finite and above 0."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"{setting}={value}: give a standard deviation above 0")

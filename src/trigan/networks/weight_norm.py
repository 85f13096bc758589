"""Weight norm (Salimans & Kingma 2016, 1602.07868) and spectral norm (Miyato et al. 2018, 1802.05957).

The paper of weight norm initialises lengths and biases from a first batch; here lengths start at the activation's gain,
so that the first weights are a function of the seed alone.
"""

import copy
import math
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

Network = TypeVar("Network", bound=nn.Module)

#: Lengths that preserve variance after ReLU and after LeakyReLU(0.2): He et al. 2015 (1502.01852), eq. 15.
RELU_GAIN, LEAKY_RELU_GAIN = math.sqrt(2.0), math.sqrt(2.0 / (1.0 + 0.2**2))


class _WeightNorm(nn.Module):
    """Weight norm, eq. 2, for each output channel (the first axis of ``shape``): ``scale * direction / |direction|``.

    ``std`` is that of the initial directions, the larger the less a step of Adam turns them; ``gain`` the first scale.
    """

    def __init__(self, shape: tuple[int, ...], std: float, gain: float) -> None:
        super().__init__()
        self.direction = nn.Parameter(std * torch.randn(shape))
        self.scale = nn.Parameter(torch.full((shape[0], *[1] * (len(shape) - 1)), gain))
        self.bias = nn.Parameter(torch.zeros(shape[0]))

    def _weight(self) -> Tensor:
        return torch._weight_norm(self.direction, self.scale, 0)


class WeightNormLinear(_WeightNorm):
    """A linear layer with weight norm; directions start at N(0, ``std``), scales at the gain of ReLU."""

    def __init__(self, in_features: int, out_features: int, std: float) -> None:
        super().__init__((out_features, in_features), std, RELU_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(x, self._weight(), self.bias)


class WeightNormConv2d(_WeightNorm):
    """A convolution with weight norm; directions start at N(0, ``std``), scales at the gain of LeakyReLU(0.2)."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, std: float, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__((channels_out, channels_in, kernel, kernel), std, LEAKY_RELU_GAIN)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, S, S) -> (N, out, S', S'), S' as for ``nn.Conv2d``."""
        return F.conv2d(x, self._weight(), self.bias, self.stride, self.padding)


def apply_spectral_norm(network: nn.Module, embeddings: bool = True) -> None:
    """Divide every weight of ``network`` by its largest singular value, with one power iteration per training pass.

    Without ``embeddings`` the weights of embeddings stay as they are.
    """
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding) if embeddings else (nn.Conv2d, nn.Linear)
    for module in list(network.modules()):
        if isinstance(module, kinds):
            spectral_norm(module)


def singular_vectors(network: nn.Module) -> list[Tensor]:
    """The buffers of spectral norm: estimates of each weight's first singular vectors, in the network's order."""
    return [buffer for name, buffer in network.named_buffers() if ".parametrizations.weight.0._" in f".{name}"]


def fold_spectral_norm(network: Network) -> Network:
    """A copy in eval mode with the normalised weights as plain parameters, as ONNX export needs."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            # torch's remove_parametrizations would change the class, which the copy shares with the original
            weight = cast(Tensor, module.weight).detach()
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.weight = nn.Parameter(weight)
    return network

"""Layers whose random numbers are functions of (seed, step, row of the global batch).

torch's own dropout draws from the process's global generator: a resumed fit would continue with other numbers, and two
ranks would drop the same positions. The training loop supplies the numbers of these layers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.rng import Draws

#: (layer's name, rows of its input) -> the numbers of this pass; each further pass of a step gets new ones.
RandomSource = Callable[[str, int], Draws]


class RandomLayer(nn.Module):
    """A layer that draws random numbers: from a source within `use_random_source`, else from torch."""

    source: RandomSource | None = None
    layer_name = ""

    def normal(self, x: Tensor) -> Tensor:
        """N(0, 1) numbers in the shape and dtype of ``x`` (N, ...), on its device."""
        if self.source is None:
            return torch.randn_like(x)
        return self.source(self.layer_name, len(x)).normal("layer", *x.shape[1:]).to(x.dtype)

    def uniform(self, x: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) in the shape of ``x`` (N, ...); always float32, as bfloat16 would round up to 1."""
        if self.source is None:
            return torch.rand(x.shape, device=x.device)
        return self.source(self.layer_name, len(x)).uniform("layer", *x.shape[1:])


class GaussianNoise(RandomLayer):
    """Adds N(0, ``std``) in training; the identity in evaluation. Any shape (N, ...)."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with noise, of the same shape."""
        return x + self.std * self.normal(x) if self.training and self.std > 0.0 else x


class Dropout(RandomLayer):
    """Srivastava et al. 2014: in training each value is 0 with probability ``p``, else scaled by ``1 / (1 - p)``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with dropped values, of the same shape (N, ...)."""
        if not self.training or self.p == 0.0:
            return x
        return x * (self.uniform(x) >= self.p).to(x.dtype) / (1.0 - self.p)


class NoisyLinear(nn.Linear):
    """A linear layer with Gaussian noise on its input in training."""

    def __init__(self, in_features: int, out_features: int, std: float) -> None:
        super().__init__(in_features, out_features)
        self.noise = GaussianNoise(std)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return F.linear(self.noise(x), self.weight, self.bias)


def random_layers(networks: Mapping[str, nn.Module]) -> dict[str, RandomLayer]:
    """The random layers of named networks, each network's by number: ``network.0``, ``network.1``.

    A number, not a path: a classifier keeps its noise inside a network with two heads.
    """
    found = {
        name: [one for one in network.modules() if isinstance(one, RandomLayer)] for name, network in networks.items()
    }
    return {f"{name}.{number}": layer for name, layers in found.items() for number, layer in enumerate(layers)}


@contextmanager
def use_random_source(layers: Mapping[str, RandomLayer], source: RandomSource) -> Iterator[None]:
    """Within it, ``layers`` take their numbers from ``source``, each by its name."""
    for name, layer in layers.items():
        layer.layer_name, layer.source = name, source
    try:
        yield
    finally:
        for layer in layers.values():
            layer.source = None

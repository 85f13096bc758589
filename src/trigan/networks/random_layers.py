"""Layers that draw random numbers in training, as functions of (seed, step, row of the global batch).

torch's own dropout draws from the process's global generator: a resumed fit goes on with other numbers, and two ranks
drop the same values of different rows. These layers take their numbers from whoever trains the network.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError


class RowDraws(Protocol):
    """Random numbers, one row for each of this process's rows; ``trigan.rng.Draws`` is one."""

    def normal(self, stream: str, *shape: int) -> Tensor: ...

    def uniform(self, stream: str, *shape: int) -> Tensor: ...


#: (layer's name, rows of its input) -> the numbers of this pass; another pass of the same step gets others.
RandomSource = Callable[[str, int], RowDraws]


class RandomLayer(nn.Module):
    """A layer with random numbers of its own; within :func:`use_random_source` from a source, else from torch's generator."""

    source: RandomSource | None = None
    layer_name = ""

    def normal(self, x: Tensor) -> Tensor:
        """N(0, 1) numbers in the shape, dtype and place of ``x``, whose first dimension are rows."""
        if self.source is None:
            return torch.randn_like(x)
        return self.source(self.layer_name, len(x)).normal("layer", *x.shape[1:]).to(x.dtype)

    def uniform(self, x: Tensor) -> Tensor:
        """Uniform numbers in [0, 1), as :meth:`normal`; always in float32, which bfloat16 would round up to 1."""
        if self.source is None:
            return torch.rand(x.shape, device=x.device)
        return self.source(self.layer_name, len(x)).uniform("layer", *x.shape[1:])


class GaussianNoise(RandomLayer):
    """Adds N(0, ``std``) in training; the identity in evaluation. Any shape (N, ...)."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * self.normal(x) if self.training and self.std > 0.0 else x

    def extra_repr(self) -> str:
        return f"std={self.std}"


class Dropout(RandomLayer):
    """Srivastava et al. 2014: in training, values become 0 with probability ``p``, the others ``1 / (1 - p)`` times."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return x * (self.uniform(x) >= self.p).to(x.dtype) / (1.0 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class NoisyLinear(nn.Linear):
    """A linear layer that sees its input through Gaussian noise in training, so that what comes before has none."""

    def __init__(self, in_features: int, out_features: int, std: float) -> None:
        super().__init__(in_features, out_features)
        self.noise = GaussianNoise(std)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.noise(x), self.weight, self.bias)


def random_layers(networks: Mapping[str, nn.Module]) -> dict[str, RandomLayer]:
    """The random layers of named networks, under the names ``network.path.to.layer``."""
    return {
        f"{player}.{path}": layer
        for player, network in networks.items()
        for path, layer in network.named_modules()
        if isinstance(layer, RandomLayer)
    }


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


def require_probability(setting: str, value: float) -> None:
    """Raise a :class:`ConfigError` that names the setting unless ``value`` is a probability below 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"{setting}={value}: give a probability in [0, 1)")

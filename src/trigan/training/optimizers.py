"""Optimizers, learning-rate schedules and moving averages of weights, described by frozen dataclasses.

A schedule is a function of progress in [0, 1), so it has no state.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component

#: Factor on the learning rate at ``progress`` in [0, 1) of the fit.
Schedule = Callable[[float], float]


@dataclass(frozen=True)
class _Schedule(ABC):
    """A shape, times a linear rise from 0 to 1 over the first share ``warmup`` of the fit."""

    warmup: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        require(0.0 <= self.warmup < 1.0, "warmup", self.warmup, "in [0, 1)")

    def __call__(self, progress: float) -> float:
        """The shape's factor, times progress / warmup where that is below 1."""
        rise = progress / self.warmup if progress < self.warmup else 1.0
        return rise * self._shape(progress)

    @abstractmethod
    def _shape(self, progress: float) -> float:
        """The factor without warm-up."""


@component("schedule/constant@1")
@dataclass(frozen=True)
class Constant(_Schedule):
    """Factor 1 throughout."""

    def _shape(self, progress: float) -> float:
        return 1.0


@component("schedule/cosine@1")
@dataclass(frozen=True)
class Cosine(_Schedule):
    """Half a cosine from 1 to 0: (1 + cos(pi progress)) / 2.

    Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5 without restarts.
    """

    def _shape(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


@component("schedule/cosine_arc@1")
@dataclass(frozen=True)
class CosineArc(_Schedule):
    """cos(pi ``arc`` progress): with 7/16 from 1 to .195 (Sohn et al. 2020, arXiv 2001.07685, section 2.3)."""

    arc: float = 7 / 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 < self.arc <= 0.5, "arc", self.arc, "in (0, 0.5]")

    def _shape(self, progress: float) -> float:
        return math.cos(math.pi * self.arc * progress)


@component("schedule/linear_tail@1")
@dataclass(frozen=True)
class LinearTail(_Schedule):
    """Factor 1, then linearly to 0 over the last ``fraction`` of the fit: min(1, (1 - progress) / fraction)."""

    fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0.0 < self.fraction <= 1.0, "fraction", self.fraction, "in (0, 1]")

    def _shape(self, progress: float) -> float:
        return min(1.0, (1.0 - progress) / self.fraction)


#: Parameters, or torch's groups of them; a group's ``factor`` (1 if missing) multiplies its learning rate.
Parameters = Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]]


class OptimizerFactory(Protocol):
    """Builds an optimizer; ``learning_rate`` is the rate where the schedule's factor is 1."""

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def schedule(self) -> Schedule: ...  # noqa: D102
    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""


@component("optimizer/adam@1")
@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), fused."""

    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    schedule: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        _check(self.learning_rate, self.weight_decay)
        object.__setattr__(self, "betas", tuple(self.betas))
        in_range = len(self.betas) == 2 and all(0.0 <= beta < 1.0 for beta in self.betas)
        require(in_range, "betas", list(self.betas), "two numbers in [0, 1)")

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        return torch.optim.Adam(parameters, self.learning_rate, self.betas, weight_decay=self.weight_decay, fused=True)


@component("optimizer/sgd@1")
@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with Nesterov momentum."""

    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = field(default_factory=Cosine)

    def __post_init__(self) -> None:
        _check(self.learning_rate, self.weight_decay)
        require(0.0 <= self.momentum < 1.0, "momentum", self.momentum, "in [0, 1)")

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        rate, momentum, decay = self.learning_rate, self.momentum, self.weight_decay
        nesterov = momentum > 0.0
        return torch.optim.SGD(parameters, rate, momentum, weight_decay=decay, nesterov=nesterov, fused=True)


@component("optimizer/layer_wise@1")
@dataclass(frozen=True)
class LayerWise:
    """``optimizer`` with a factor on the learning rate of each parameter; ``factors`` are in the network's order.

    Howard & Ruder 2018 (arXiv 1801.06146), section 3.1: lower layers learn more slowly.
    """

    optimizer: OptimizerFactory
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        require(all(factor > 0.0 for factor in self.factors), "factors", list(self.factors), "above 0")

    @property
    def learning_rate(self) -> float:
        """Rate of a parameter with factor 1."""
        return self.optimizer.learning_rate

    @property
    def schedule(self) -> Schedule:
        """Schedule of the wrapped optimizer."""
        return self.optimizer.schedule

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """The optimizer, with one group of parameters for each factor."""
        groups: dict[float, list[Any]] = {}
        for parameter, factor in zip(parameters, self.factors, strict=True):
            groups.setdefault(factor, []).append(parameter)
        return self.optimizer.build([{"params": members, "factor": factor} for factor, members in groups.items()])


def _check(rate: float, decay: float) -> None:
    require(rate > 0.0, "learning_rate", rate, "above 0")
    require(decay >= 0.0, "weight_decay", decay, "at least 0")


@component("average/ema@1")
@dataclass(frozen=True)
class EMA:
    """Half-life of the average in images: ``min(half_life, rampup_ratio * images seen)``.

    Karras et al. 2022 (arXiv 2206.00364), appendix F. The ramp-up keeps the average close to the weights at first: a
    fixed decay of .999 is worse than no average below 4,000 steps.
    """

    half_life: int = 10_000
    rampup_ratio: float = 0.05

    def __post_init__(self) -> None:
        require(self.half_life >= 1, "half_life", self.half_life, "at least 1 image")
        require(0.0 < self.rampup_ratio <= 1.0, "rampup_ratio", self.rampup_ratio, "in (0, 1]")

    def decay(self, images_seen: int, batch: int) -> float:
        """Weight of the old average after ``images_seen`` images, ``batch`` of them since the last update."""
        half_life = min(float(self.half_life), self.rampup_ratio * images_seen)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


def step_optimizer(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """One step at a learning rate, a number or a tensor (), which a group's ``factor`` scales; drops the gradients."""
    captured = isinstance(rate, Tensor) and rate.is_cuda and torch.cuda.is_current_stream_capturing()
    for group in optimizer.param_groups:
        scaled = rate * group.get("factor", 1.0)
        # torch's fused steps read a single-precision rate from the device
        group["lr"] = scaled.float() if isinstance(scaled, Tensor) and scaled.is_cuda else scaled
        if captured and "capturable" in group:
            group["capturable"] = True
    optimizer.step()
    for group in (
        optimizer.param_groups if isinstance(rate, Tensor) else ()
    ):  # checkpoints have numbers, with graphs or without
        group["lr"] = optimizer.defaults["lr"]
        if captured and "capturable" in group:
            group["capturable"] = False
    optimizer.zero_grad(set_to_none=True)
    torch.clear_autocast_cache()  # of weights that have changed


@torch.no_grad()
def update_average(averages: tuple[Tensor, ...], weights: tuple[Tensor, ...], share: float | Tensor) -> None:
    """Replace the ``share``, a number or a tensor (), of ``averages`` by that of ``weights``, in place."""
    if isinstance(share, Tensor):
        changes = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(changes, share)
        torch._foreach_add_(averages, changes)
    else:
        torch._foreach_lerp_(averages, weights, share)

"""Exponential moving average of a player's weights, with a half-life in images that grows with the images seen."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan.checks import require
from trigan.components import component


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


class AveragedNetwork:
    """The averaged copy of a network: parameters are averaged, buffers stay as copied until they are re-estimated."""

    def __init__(self, network: nn.Module, settings: EMA) -> None:
        self.settings = settings
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._averages: list[Tensor] = list(self.network.parameters())
        self._weights: list[Tensor] = list(network.parameters())

    @torch.no_grad()
    def update(self, images_seen: int, batch: int) -> None:
        """Move the average towards the network's current weights; arguments as for `EMA.decay`."""
        torch._foreach_lerp_(self._averages, self._weights, 1.0 - self.settings.decay(images_seen, batch))

"""Exponential moving averages of a player's weights, with a half-life in images that grows with what was seen."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.training.range_checks import require


@component("average/ema@1")
@dataclass(frozen=True)
class EMA:
    """Half-life of the average: ``min(half_life, rampup_ratio * images seen)`` images.

    Karras et al. 2022 (arXiv 2206.00364), appendix F. The ramp keeps the average close to the weights early on: a fixed
    decay of .999 is worse than none below 4,000 steps.
    """

    half_life: int = 10_000
    rampup_ratio: float = 0.05

    def __post_init__(self) -> None:
        require(self.half_life >= 1, "half_life", self.half_life, "at least 1 image")
        require(0.0 < self.rampup_ratio <= 1.0, "rampup_ratio", self.rampup_ratio, "in (0, 1]")

    def decay(self, images_seen: int, batch: int) -> float:
        """Weight of the old average after ``images_seen`` images, the last ``batch`` of which came since it moved."""
        half_life = min(float(self.half_life), self.rampup_ratio * images_seen)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


class AveragedNetwork:
    """The averaged copy of a network: parameters are averaged, buffers stay as copied until they are re-estimated."""

    def __init__(self, network: nn.Module, settings: EMA) -> None:
        self.settings = settings
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._averaged: list[Tensor] = list(self.network.parameters())
        self._present: list[Tensor] = list(network.parameters())

    @torch.no_grad()
    def update(self, images_seen: int, batch: int) -> None:
        """Move the average towards the network's present weights."""
        torch._foreach_lerp_(self._averaged, self._present, 1.0 - self.settings.decay(images_seen, batch))

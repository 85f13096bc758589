"""Scalars of the training loop, summed on the device and read rarely: reading waits for the device."""

import torch
from torch import Tensor

from trigan.training import distributed


class ScalarMeans:
    """Running sums by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one scalar; it is detached, and summed in float32 if it is narrower: a bfloat16 stops at 256 ones."""
        value = value.detach()
        value = value.float() if value.dtype.itemsize < 4 else value
        if name in self._sums:
            self._sums[name] += value
            self._counts[name] += 1
        else:
            self._sums[name] = value.clone()
            self._counts[name] = 1

    def flush(self) -> dict[str, float]:
        """Mean of each name over steps and ranks since the last flush; then start anew."""
        if not self._sums:
            return {}
        means = torch.stack([self._sums[name].float() / self._counts[name] for name in self._sums])
        means = distributed.global_mean(means)
        result = dict(zip(self._sums, means.tolist(), strict=True))
        self._sums.clear()
        self._counts.clear()
        return result

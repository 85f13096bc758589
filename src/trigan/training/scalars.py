"""Means of logged scalars, summed on the device; reading one waits for the device, so they are read rarely."""

import torch
from torch import Tensor

from trigan.training import distributed


class ScalarMeans:
    """Running sums by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add one scalar, detached; sums are float32 or wider, because a bfloat16 sum of ones stops at 256."""
        value = value.detach()
        value = value.float() if value.dtype.itemsize < 4 else value
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1

    def flush(self) -> dict[str, float]:
        """Mean of each name over steps and ranks since the last flush."""
        if not self._sums:
            return {}
        means = torch.stack([total.float() / self._counts[name] for name, total in self._sums.items()])
        result = dict(zip(self._sums, distributed.global_mean(means).tolist(), strict=True))
        self._sums.clear()
        self._counts.clear()
        return result

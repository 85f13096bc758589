"""Label noise with an exact rate: round(rate * N) labels of a part change, chosen by hash."""

from dataclasses import dataclass

import numpy as np

from trigan.components import component
from trigan.errors import ConfigError


@component("label_noise/symmetric@1")
@dataclass(frozen=True)
class SymmetricNoise:
    """A changed label becomes any of the other K - 1 classes, each with the same chance.

    Attributes:
        rate: share of the labels that change, 0 to 1.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int) -> np.ndarray:
        """Labels int64 (N,), keys uint64 (N, 2) -> noisy labels int64 (N,)."""
        rows = _chosen(self.rate, keys)
        steps = 1 + (keys[rows, 1] % np.uint64(classes - 1)).astype(np.int64)
        noisy = labels.copy()
        noisy[rows] = (labels[rows] + steps) % classes
        return noisy


@component("label_noise/pair@1")
@dataclass(frozen=True)
class PairNoise:
    """A changed label becomes the next class, k -> k + 1 mod K (Han et al. 2018, co-teaching, arXiv 1804.06872).

    Attributes:
        rate: share of the labels that change, 0 to 1.
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int) -> np.ndarray:
        """Labels int64 (N,), keys uint64 (N, 2) -> noisy labels int64 (N,)."""
        rows = _chosen(self.rate, keys)
        noisy = labels.copy()
        noisy[rows] = (labels[rows] + 1) % classes
        return noisy


def _chosen(rate: float, keys: np.ndarray) -> np.ndarray:
    return np.argsort(keys[:, 0], kind="stable")[: round(rate * len(keys))]


def _check_rate(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ConfigError(f"regime.noise.rate={rate}: must lie in 0..1 (0.4 changes 40 % of the labels)")

"""Label noise with an exact rate: round(rate * N) labels of a part change, chosen by hash."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from trigan.components import component
from trigan.errors import ConfigError


@dataclass(frozen=True)
class LabelNoise(ABC):
    """Moves chosen labels to other classes.

    Attributes:
        rate: fraction of the labels that change, 0 to 1.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"regime.noise.rate={self.rate}: must lie in 0..1 (0.4 changes 40 % of the labels)")

    def __call__(self, labels: np.ndarray, keys: np.ndarray, classes: int) -> np.ndarray:
        """Labels int64 (N,), keys uint64 (N, 2) -> noisy labels int64 (N,)."""
        rows = np.argsort(keys[:, 0], kind="stable")[: round(self.rate * len(keys))]
        noisy = labels.copy()
        noisy[rows] = (labels[rows] + self.steps(keys[rows, 1], classes)) % classes
        return noisy

    @abstractmethod
    def steps(self, keys: np.ndarray, classes: int) -> np.ndarray | int:
        """By how many classes each label moves: keys uint64 (n,) -> 1..K-1."""


@component("label_noise/symmetric@1")
@dataclass(frozen=True)
class SymmetricNoise(LabelNoise):
    """A changed label becomes any of the other K - 1 classes with equal probability."""

    def steps(self, keys: np.ndarray, classes: int) -> np.ndarray:
        """1 + key mod (K - 1)."""
        return 1 + (keys % np.uint64(classes - 1)).astype(np.int64)


@component("label_noise/pair@1")
@dataclass(frozen=True)
class PairNoise(LabelNoise):
    """A changed label becomes the next class, k -> k + 1 mod K (Han et al. 2018, co-teaching, arXiv 1804.06872)."""

    def steps(self, keys: np.ndarray, classes: int) -> int:
        """Always 1."""
        return 1

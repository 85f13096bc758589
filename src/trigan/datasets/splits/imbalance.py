"""Long-tailed and step imbalance: the fraction of the largest class that each class keeps.

n_k = n_max mu^(k / (K-1)) with mu = 1 / ratio (Cui et al. 2019, arXiv 1901.05555; Cao et al. 2019, LDAM), classes in
label order; the step form keeps n_max for the first classes and n_max mu for the last ones.
"""

from dataclasses import dataclass

import numpy as np

from trigan.components import component
from trigan.errors import ConfigError


@dataclass(frozen=True)
class _Imbalance:
    ratio: float

    def __post_init__(self) -> None:
        if not 1 <= self.ratio < float("inf"):
            raise ConfigError(
                f"regime.imbalance.ratio={self.ratio}: must be 1 or more (100 means largest : smallest = 100 : 1)"
            )


@component("imbalance/exponential@1")
@dataclass(frozen=True)
class ExponentialImbalance(_Imbalance):
    """Exponential imbalance.

    Attributes:
        ratio: n_max / n_min, 1 or more (the literature's imbalance factor; LDAM's ``imb_factor`` is its inverse).
    """

    def class_fractions(self, classes: int) -> np.ndarray:
        """n_k / n_max for k = 0..K-1, float64 (K,)."""
        return self.ratio ** (-np.arange(classes) / max(1, classes - 1))


@component("imbalance/step@1")
@dataclass(frozen=True)
class StepImbalance(_Imbalance):
    """Step imbalance.

    Attributes:
        ratio: n_max / n_min, 1 or more.
        minority_fraction: the fraction of classes, from the last, that are small; above 0 and below 1.
    """

    minority_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.minority_fraction < 1:
            raise ConfigError(
                f"regime.imbalance.minority_fraction={self.minority_fraction}: must be above 0 and below 1, e.g. 0.5"
            )

    def class_fractions(self, classes: int) -> np.ndarray:
        """n_k / n_max for k = 0..K-1, float64 (K,)."""
        small = min(classes - 1, max(1, round(self.minority_fraction * classes)))
        return np.where(np.arange(classes) < classes - small, 1.0, 1.0 / self.ratio)

"""The label regime: budget, validation, imbalance, noise, and how many images stay unlabelled."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trigan.components import component
from trigan.datasets.splits.imbalance import ExponentialImbalance, StepImbalance
from trigan.datasets.splits.label_noise import PairNoise, SymmetricNoise
from trigan.errors import ConfigError

Validation = Literal["auto", "within", "none", "large"]
#: Fraction of the labels that validates, and fraction of the pool that `large` adds to them.
WITHIN_FRACTION, LARGE_FRACTION = 0.2, 1 / 6
#: With at most this many labels per class, `auto` keeps none for validation.
MAX_LABELS_WITHOUT_VALIDATION = 10


@component("regime/drawn@1")
@dataclass(frozen=True)
class Regime:
    """The label regime of a run; it applies to everything but the test set.

    Attributes:
        labels_per_class: labels of the largest class, validation included; None: as ``fraction`` says.
        fraction: fraction of each class's pool that is labelled, above 0 to 1; if both are None, all.
        unlabelled: ``all`` of the remaining pool, ``none`` of it, or a number of images.
        validation: ``auto``: with n labels per class, max(1, round(0.2 n)) of them validate, none when n <= 10;
            ``within``: the same for any n above 1; ``none``; ``large``: one sixth of each class's pool, as labels
            *beside* the budget (what most papers did; stamped "val-large").
        validation_fraction: replaces 0.2 (of the labels) or 1/6 (of the pool), above 0 and below 1.
        imbalance: thins the classes of the pool, labelled and unlabelled images alike, but not images without any
            label. The pool keeps the largest n_max that every class can supply.
        noise: changes labels for training and, at the same rate, labels for validation.
    """

    labels_per_class: int | None = None
    fraction: float | None = None
    unlabelled: Literal["all", "none"] | int = "all"
    validation: Validation = "auto"
    validation_fraction: float | None = None
    imbalance: ExponentialImbalance | StepImbalance | None = None
    noise: SymmetricNoise | PairNoise | None = None

    def __post_init__(self) -> None:
        if self.labels_per_class is not None and self.fraction is not None:
            raise ConfigError("regime.labels_per_class and regime.fraction both set the number of labels; use one")
        labels, fraction, held_out = self.labels_per_class, self.fraction, self.validation_fraction
        unlabelled = self.unlabelled
        count = isinstance(unlabelled, int) and not isinstance(unlabelled, bool) and unlabelled >= 0
        for name, valid, expected in (
            ("labels_per_class", labels is None or labels >= 1, "1 or more, or null for all"),
            ("fraction", fraction is None or 0 < fraction <= 1, "above 0 and at most 1, or null for all labels"),
            ("unlabelled", count or unlabelled in ("all", "none"), "all, none, or a number of images (0 or more)"),
            ("validation", self.validation in get_args(Validation), "auto, within, none or large"),
            ("validation_fraction", held_out is None or 0 < held_out < 1, "above 0 and below 1, or null"),
        ):
            if not valid:
                raise ConfigError(f"regime.{name}={getattr(self, name)}: must be {expected}")

    @property
    def stamps(self) -> tuple[str, ...]:
        """Marks that tables print."""
        return ("val-large",) if self.validation == "large" else ()

    def imbalanced_counts(self, pool: np.ndarray) -> np.ndarray:
        """Images per class of ``pool`` (K,) after the imbalance, int64 (K,); at least 1 where there was one."""
        if self.imbalance is None:
            return pool
        fractions = self.imbalance.class_fractions(len(pool))
        largest = np.min((pool / fractions)[pool > 0], initial=np.inf)
        return _rounded(largest * fractions, pool)

    def budget(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels per class for training and for validation, int64 (K,) each, out of a thinned pool (K,).

        A class with a single label trains on it and does not validate.
        """
        if self.validation == "large":
            validation = _rounded((self.validation_fraction or LARGE_FRACTION) * pool, np.maximum(pool - 1, 0))
            return self._labels(pool - validation), validation
        labels = self._labels(pool)
        few = labels.max(initial=0) <= MAX_LABELS_WITHOUT_VALIDATION
        if self.validation == "none" or (self.validation == "auto" and few):
            return labels, np.zeros_like(pool)
        validation = _rounded((self.validation_fraction or WITHIN_FRACTION) * labels, np.maximum(labels - 1, 0))
        return labels - validation, validation

    def _labels(self, available: np.ndarray) -> np.ndarray:
        """Labels per class out of the available images, int64 (K,)."""
        if self.labels_per_class is None:
            fraction = 1.0 if self.fraction is None else self.fraction
            return _rounded(fraction * available, available)
        classes = len(available)
        fractions = np.ones(classes) if self.imbalance is None else self.imbalance.class_fractions(classes)
        return _rounded(self.labels_per_class * fractions, np.inf)


def _rounded(numbers: np.ndarray, available: np.ndarray | float) -> np.ndarray:
    """The numbers as int64, at least 1 but at most ``available``."""
    counts: np.ndarray = np.minimum(available, np.maximum(1, np.rint(numbers))).astype(np.int64)
    return counts

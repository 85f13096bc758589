"""What is done to the labels: budget, validation, imbalance, noise, and how much stays unlabelled."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trigan.components import component
from trigan.data.splits.imbalance import ExponentialImbalance, StepImbalance
from trigan.data.splits.label_noise import PairNoise, SymmetricNoise
from trigan.errors import ConfigError, DataError

#: Of n labels per class, this share validates; of the pool, that share is what `large` takes beside them.
WITHIN_FRACTION, LARGE_FRACTION = 0.2, 1 / 6
#: With so few labels per class `auto` keeps none for validation.
MAX_LABELS_WITHOUT_VALIDATION = 10


@component("regime/drawn@1")
@dataclass(frozen=True)
class Regime:
    """The label regime of a run; it applies to everything but the test set.

    Attributes:
        labels_per_class: labels of the largest class, validation included; None: as ``fraction`` says.
        fraction: share of each class's pool that is labelled, above 0 to 1; None beside no ``labels_per_class``: all.
        unlabelled: ``all`` of the pool that is left, ``none`` of it, or a number of images.
        validation: ``auto``: with n labels per class, max(1, round(0.2 n)) of them validate, none when n <= 10;
            ``within``: the same for any n above 1; ``none``; ``large``: one sixth of each class's pool, as labels
            *beside* the budget (what most papers did; stamped "val-large").
        validation_fraction: another share than 0.2 (of the labels) or 1/6 (of the pool), above 0 and below 1.
        imbalance: thins the classes of the pool, labelled and unlabelled images alike; an image without any label of
            its own stays. The pool keeps the largest n_max that every class can supply.
        noise: changes labels for training and, at the same rate, labels for validation.
    """

    labels_per_class: int | None = None
    fraction: float | None = None
    unlabelled: Literal["all", "none"] | int = "all"
    validation: Literal["auto", "within", "none", "large"] = "auto"
    validation_fraction: float | None = None
    imbalance: ExponentialImbalance | StepImbalance | None = None
    noise: SymmetricNoise | PairNoise | None = None

    def __post_init__(self) -> None:
        if self.labels_per_class is not None and self.fraction is not None:
            raise ConfigError(
                "regime.labels_per_class and regime.fraction are two ways to say one thing; set one to null"
            )
        if self.labels_per_class is not None and self.labels_per_class < 1:
            raise ConfigError(f"regime.labels_per_class={self.labels_per_class}: must be 1 or more, or null for all")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ConfigError(f"regime.fraction={self.fraction}: must be above 0 and at most 1, or null for all labels")
        if self.unlabelled not in ("all", "none") and not _is_count(self.unlabelled):
            raise ConfigError(
                f"regime.unlabelled={self.unlabelled}: must be all, none, or a number of images (0 or more)"
            )
        if self.validation not in ("auto", "within", "none", "large"):
            raise ConfigError(f"regime.validation={self.validation}: must be auto, within, none or large")
        if self.validation_fraction is not None and not 0 < self.validation_fraction < 1:
            raise ConfigError(
                f"regime.validation_fraction={self.validation_fraction}: must be above 0 and below 1, or null"
            )

    @property
    def stamps(self) -> tuple[str, ...]:
        return ("val-large",) if self.validation == "large" else ()

    def imbalanced_counts(self, pool: np.ndarray) -> np.ndarray:
        """Images per class that the imbalance leaves of ``pool`` (K,), int64 (K,); at least 1 where there was one."""
        if self.imbalance is None:
            return pool
        shares = self.imbalance.class_fractions(len(pool))
        largest = np.min((pool / shares)[pool > 0], initial=np.inf)
        return np.minimum(pool, np.maximum(1, np.rint(largest * shares))).astype(np.int64)

    def budget(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels per class for training and for validation, int64 (K,) each, out of a thinned pool (K,).

        A class with a single label trains on it and does not validate.
        """
        beside = np.zeros_like(pool)
        if self.validation == "large":
            beside = np.minimum(
                np.maximum(pool - 1, 0), _at_least_one((self.validation_fraction or LARGE_FRACTION) * pool)
            )
        labels = self._labels(pool - beside)
        if self.validation == "large":
            return labels, beside
        if self.validation == "none" or (
            self.validation == "auto" and labels.max(initial=0) <= MAX_LABELS_WITHOUT_VALIDATION
        ):
            return labels, beside
        inside = np.minimum(
            _at_least_one((self.validation_fraction or WITHIN_FRACTION) * labels), np.maximum(labels - 1, 0)
        )
        return labels - inside, inside

    def _labels(self, available: np.ndarray) -> np.ndarray:
        """Labels per class out of those available, int64 (K,)."""
        if self.labels_per_class is None:
            share = 1.0 if self.fraction is None else self.fraction
            return np.minimum(available, _at_least_one(share * available))
        shares = np.ones(len(available)) if self.imbalance is None else self.imbalance.class_fractions(len(available))
        return _at_least_one(self.labels_per_class * shares)

    def raise_label_shortage(self, class_name: str, wanted: int, available: int) -> None:
        """Say in one line that a class cannot give the labels asked for.

        Raises:
            DataError: always.
        """
        if available == 0:
            raise DataError(
                f"class '{class_name}' has no labelled training image; give it some, or leave the class out"
            )
        large = self.validation == "large"
        beside, mend = (" with regime.validation=large", " or set regime.validation=none") if large else ("", "")
        raise DataError(
            f"class '{class_name}' has {available} labelled training images, but regime.labels_per_class="
            f"{self.labels_per_class}{beside} needs {wanted}; lower it{mend}"
        )


def _at_least_one(numbers: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.rint(numbers)).astype(np.int64)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""The label regime: budget, validation, imbalance, noise, and how many images stay unlabelled."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.splits.label_noise import LabelNoise
from trigan.errors import ConfigError

Validation = Literal["auto", "within", "none", "large"]
#: Fraction of the labels that validates, and fraction of the pool that `large` adds to them.
WITHIN_FRACTION, LARGE_FRACTION = 0.2, 1 / 6
#: With at most this many labels per class, `auto` keeps none for validation.
MAX_LABELS_WITHOUT_VALIDATION = 10


@dataclass(frozen=True)
class _Imbalance:
    """The fraction of the largest class that each class keeps, classes in label order.

    Attributes:
        ratio: n_max / n_min, 1 or more.
    """

    ratio: float

    def __post_init__(self) -> None:
        require(1 <= self.ratio < float("inf"), "ratio", self.ratio, "1 or more (100: largest : smallest = 100 : 1)")


@component("imbalance/exponential@1")
@dataclass(frozen=True)
class ExponentialImbalance(_Imbalance):
    """A long tail: n_k = n_max mu^(k / (K-1)), mu = 1 / ratio (Cui et al. 2019, arXiv 1901.05555).

    The ratio is the literature's imbalance factor; the ``imb_factor`` of LDAM (Cao et al. 2019) is its inverse.
    """

    def class_fractions(self, classes: int) -> np.ndarray:
        """n_k / n_max for k = 0..K-1, float64 (K,)."""
        return self.ratio ** (-np.arange(classes) / max(1, classes - 1))


@component("imbalance/step@1")
@dataclass(frozen=True)
class StepImbalance(_Imbalance):
    """The first classes keep n_max, the last ones n_max / ratio.

    Attributes:
        minority_fraction: the fraction of classes, from the last, that are small; above 0 and below 1.
    """

    minority_fraction: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        small = self.minority_fraction
        require(0 < small < 1, "minority_fraction", small, "above 0 and below 1, e.g. 0.5")

    def class_fractions(self, classes: int) -> np.ndarray:
        """n_k / n_max for k = 0..K-1, float64 (K,)."""
        small = min(classes - 1, max(1, round(self.minority_fraction * classes)))
        return np.where(np.arange(classes) < classes - small, 1.0, 1.0 / self.ratio)


@component("imbalance/counts@1")
@dataclass(frozen=True)
class ExplicitCounts:
    """The images of each class by number, such as the 4000, 2000, ..., 40 of DeepSMOTE (2105.02340, section IV).

    Attributes:
        counts: images of the pool, labelled and unlabelled, that each class keeps, in label order.
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", tuple(self.counts))
        valid = len(self.counts) > 1 and min(self.counts) >= 1
        require(valid, "counts", list(self.counts), "a list with 1 or more for each class")

    def class_fractions(self, classes: int) -> np.ndarray:
        """n_k / n_max for k = 0..K-1, float64 (K,)."""
        given = len(self.counts)
        require(given == classes, "regime.imbalance.counts", f"{given} numbers", f"{classes}, one for each class")
        return np.array(self.counts) / max(self.counts)


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
            label. The pool keeps the largest n_max that every class can supply, or the counts given.
        noise: changes labels for training and, unless its ``validation`` is ``clean``, labels for validation.
        held_out_classes: names of classes that are no part of the task: none of their images trains or validates, and
            their test images are for the scores of novelty alone.
        held_out_in_pool: whether the training images of these classes are among the unlabelled ones (stamped
            "novel-in-pool").
    """

    labels_per_class: int | None = None
    fraction: float | None = None
    unlabelled: Literal["all", "none"] | int = "all"
    validation: Validation = "auto"
    validation_fraction: float | None = None
    imbalance: ExponentialImbalance | StepImbalance | ExplicitCounts | None = None
    noise: LabelNoise | None = None
    held_out_classes: tuple[str | int, ...] = ()
    held_out_in_pool: bool = False

    def __post_init__(self) -> None:
        labels, fraction, held_out = self.labels_per_class, self.fraction, self.validation_fraction
        unlabelled, validation = self.unlabelled, self.validation
        if labels is not None and fraction is not None:
            raise ConfigError("regime.labels_per_class and regime.fraction both set the number of labels; use one")
        count = isinstance(unlabelled, int) and not isinstance(unlabelled, bool) and unlabelled >= 0
        require(labels is None or labels >= 1, "labels_per_class", labels, "1 or more, or null for all")
        require(fraction is None or 0 < fraction <= 1, "fraction", fraction, "above 0 and at most 1, or null for all")
        require(count or unlabelled in ("all", "none"), "unlabelled", unlabelled, "all, none, or a number of images")
        require(validation in get_args(Validation), "validation", validation, "auto, within, none or large")
        valid = held_out is None or 0 < held_out < 1
        require(valid, "validation_fraction", held_out, "above 0 and below 1, or null")
        object.__setattr__(self, "held_out_classes", tuple(self.held_out_classes))
        names = self.held_out_names
        require(len(set(names)) == len(names), "held_out_classes", list(names), "names of different classes")
        if self.held_out_in_pool and not names:
            raise ConfigError("held_out_in_pool: there are no held_out_classes; name some, or set it to false")

    @property
    def stamps(self) -> tuple[str, ...]:
        """Marks that tables print where there are labels for validation."""
        clean = self.noise is not None and self.noise.validation == "clean"
        return (*(("val-large",) if self.validation == "large" else ()), *(("clean-validation",) if clean else ()))

    @property
    def held_out_names(self) -> tuple[str, ...]:
        """The names of held-out classes: YAML reads names such as 8 as numbers."""
        return tuple(map(str, self.held_out_classes))

    def imbalanced_counts(self, pool: np.ndarray) -> np.ndarray:
        """Images per class of ``pool`` (K,) after the imbalance, int64 (K,); at least 1 where there was one."""
        if not isinstance(self.imbalance, ExplicitCounts):
            return self.proportional_counts(pool)
        self.imbalance.class_fractions(len(pool))  # refuses another number of classes
        counts = np.array(self.imbalance.counts)
        for label in np.flatnonzero(counts > pool)[:1]:
            most = f"at most {pool[label]}, the training images of that class"
            raise ConfigError(f"regime.imbalance.counts: {counts[label]} for class {label} must be {most}")
        return counts

    def proportional_counts(self, pool: np.ndarray) -> np.ndarray:
        """As `imbalanced_counts`, with the largest n_max of which every class can supply its fraction."""
        if self.imbalance is None:
            return pool
        fractions = self.imbalance.class_fractions(len(pool))
        largest = np.min((pool / fractions)[pool > 0], initial=np.inf)
        return _rounded(largest * fractions, pool)

    def budget(self, pool: np.ndarray, own: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels per class for training and for validation, int64 (K,) each, out of a thinned pool (K,).

        A class with a single label trains on it and does not validate. ``own`` (K,) are the images of the source's own
        validation part, if it has one: labels for validation then come from there, all of them where all training
        images keep their label.
        """
        if self.validation == "large":
            if own is not None:
                return self._labels(pool), own
            validation = _rounded((self.validation_fraction or LARGE_FRACTION) * pool, np.maximum(pool - 1, 0))
            return self._labels(pool - validation), validation
        labels = self._labels(pool)
        few = labels.max(initial=0) <= MAX_LABELS_WITHOUT_VALIDATION
        if self.validation == "none" or (self.validation == "auto" and few):
            return labels, np.zeros_like(pool)
        validation = _rounded((self.validation_fraction or WITHIN_FRACTION) * labels, np.maximum(labels - 1, 0))
        if own is None:
            return labels - validation, validation
        if self.labels_per_class is None and self.fraction is None:
            return labels, own if self.validation_fraction is None else np.minimum(validation, own)
        validation = np.minimum(validation, own)
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

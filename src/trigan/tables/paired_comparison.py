"""The comparison of two rows in one column: within trials, only for equal data, and as far as n allows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from trigan.records.record import DATA_KINDS, PRETRAINED
from trigan.tables.cell import Cell
from trigan.tables.image_outcomes import ImageOutcomes, image_covariance
from trigan.tables.statistics import (
    evidence,
    holm,
    minimal_detectable_difference,
    sign_flip_p,
    summarise,
    t_interval,
)

#: ``values`` .. ``headline`` by the number of trials; the others are the reasons why there is no comparison.
Kind = Literal[
    "values", "range", "exploratory", "headline", "itself", "different_data", "different_test", "incomplete", "absent"
]
#: What a table, a summary or a verdict says of a row.
Claim = Literal["better", "worse", "not resolved", "not decided"]
#: Probability of a false claim in a family of comparisons.
LEVEL = 0.05


@dataclass(frozen=True)
class Overlap:
    """How much trials are correlated because they share test images, for the paired differences of two cells.

    Attributes:
        ratio: covariance of two trials over the sample variance, the second term of `standard_error`.
        estimated: from the stored predictions (`image_covariance`); else assumed to be Nadeau and Bengio's
            n_test / n_train, its largest possible value where trials redraw the test set.
    """

    ratio: float
    estimated: bool

    @property
    def correlation(self) -> float:
        """The correlation of the differences of two trials."""
        return self.ratio / (1 + self.ratio)


@dataclass(frozen=True)
class PValues:
    """The p values of a paired comparison.

    Attributes:
        two_sided, better, worse: of the t test, against no difference, and one-sided: a small one speaks for ``row``
            being better, or worse, than ``against`` (for a score where lower is better, better is lower); of a primary
            comparison, better than every baseline, or worse than one (`against_all`).
        sign_flip: two-sided, of the exact sign-flip test; only for a shared test set.
        holm: the smaller one-sided p after Holm's correction over all one-sided tests of the family; see `with_holm`.
        level: the level that ``holm`` is compared with.
    """

    two_sided: float
    better: float
    worse: float
    sign_flip: float | None = None
    holm: float | None = None
    level: float = LEVEL


@dataclass(frozen=True)
class PairedComparison:
    """``row`` minus ``against`` in ``column``.

    Attributes:
        low, high: smallest and largest difference for ``range``; ends of the 95 % paired t interval for ``exploratory``
            and ``headline``.
        tests: the p values, only for ``headline``.
        detectable: the minimal detectable difference of these trials (power 80 % at 5 %), by their own sd and number;
            None below three trials.
        overlap: of the trials' test sets; None if they share one and not all predictions are stored.
        reason: why there is no comparison, in words.
    """

    row: str
    against: str
    column: str
    kind: Kind
    differences: tuple[float, ...] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    tests: PValues | None = None
    detectable: float | None = None
    overlap: Overlap | None = None
    reason: str = ""

    @property
    def correlation(self) -> float | None:
        """The correlation of the differences of two trials, estimated or assumed; None if it is not known."""
        return None if self.overlap is None else self.overlap.correlation

    @property
    def has_interval(self) -> bool:
        """Whether ``low`` and ``high`` are the ends of a 95 % interval."""
        return self.kind in ("exploratory", "headline")

    @property
    def claim(self) -> Claim:
        """What may be said of the row: ``better`` or ``worse`` only with ten trials or more, and by Holm's p.

        ``not decided`` with fewer trials, without a comparison, or outside a family.
        """
        if self.tests is None or self.tests.holm is None:
            return "not decided"
        if self.tests.holm > self.tests.level:
            return "not resolved"
        return "better" if self.tests.better <= self.tests.worse else "worse"

    @property
    def p(self) -> float | None:
        """The two-sided p of the t test; None below ten trials."""
        return None if self.tests is None else self.tests.two_sided

    @property
    def p_sign_flip(self) -> float | None:
        """The two-sided p of the sign-flip test; None below ten trials, or where trials redraw the test set."""
        return None if self.tests is None else self.tests.sign_flip

    @property
    def p_holm(self) -> float | None:
        """Holm's p; None below ten trials or outside a family."""
        return None if self.tests is None else self.tests.holm


def against_all(strongest: PairedComparison, every: Sequence[PairedComparison]) -> PairedComparison:
    """The comparison with the strongest baseline, and the p values of the comparison with every one of them.

    A row is better if it is better than all baselines: the largest one-sided p tests that without a correction
    (intersection-union test, Berger 1982). It is worse if it is worse than at least one: the smallest one-sided p times
    the number of baselines (Bonferroni). Neither uses which baseline had the highest mean in these trials, so its
    choice cannot bias them. ``two_sided`` and ``sign_flip`` become twice the smaller of both, so two-sided.
    """
    tests = [one.tests for one in every if one.tests is not None]
    if strongest.tests is None or len(tests) < len(every):
        return strongest
    better, worse = _union([(one.better, one.worse) for one in tests])
    flips = [one_sided(one.sign_flip, one.worse - one.better) for one in tests if one.sign_flip is not None]
    flip = min(1.0, 2 * min(_union(flips))) if len(flips) == len(tests) else None
    return replace(strongest, tests=PValues(min(1.0, 2 * min(better, worse)), better, worse, flip))


def _union(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """One-sided p of better than all, and of worse than at least one."""
    better, worse = zip(*pairs, strict=True)
    return max(better), min(1.0, len(worse) * min(worse))


def with_holm(family: Sequence[PairedComparison], level: float = LEVEL) -> tuple[PairedComparison, ...]:
    """The comparisons of a family with Holm's p over all their one-sided tests, two for each that has a p.

    Both directions count as hypotheses of their own, so that the probability of any false "better" or "worse" in the
    family is at most ``level`` under any dependence of the rows (Holm 1979), wrong directions included.
    """
    adjusted = iter(holm([p for one in family if one.tests is not None for p in (one.tests.better, one.tests.worse)]))
    return tuple(
        one
        if one.tests is None
        else replace(one, tests=replace(one.tests, holm=min(next(adjusted), next(adjusted)), level=level))
        for one in family
    )


_DATA_NAMES = {
    "L": "labelled images",
    "U": "unlabelled images",
    "V": "validation labels",
    "X": "images of other data sets",
}


def data_difference(cell: Cell, against: Cell) -> str:
    """How the data that ``cell`` uses differs from that of ``against``, in words; empty if L, U, V, X are equal."""
    trials = sorted(set(cell.by_trial) & set(against.by_trial))
    parts = []
    for kind in DATA_KINDS:
        counts = [[{r["result"]["data_used"][kind] for r in c.by_trial[t]} for c in (cell, against)] for t in trials]
        unequal = [(max(own), max(other)) for own, other in counts if own != other]
        if unequal:
            own, other = (max(largest) for largest in zip(*unequal, strict=True))
            verb = (
                "also uses" if other == 0 else "uses no" if own == 0 else "uses more" if own > other else "uses fewer"
            )
            parts.append(f"{verb} {_DATA_NAMES[kind]}")
    weights, others = ({stamp for stamp in c.stamps if stamp.startswith(PRETRAINED)} for c in (cell, against))
    if weights and others and weights != others:
        parts.append("uses other pretrained weights")
    return "; ".join(parts)


def same_test_sets(cell: Cell, against: Cell) -> bool:
    """Whether two cells were scored on the same test images in each trial that both have."""
    trials = set(cell.by_trial) & set(against.by_trial)
    return all(cell.test_sets(trial) == against.test_sets(trial) for trial in trials)


def paired_differences(cell: Cell, against: Cell) -> tuple[float, ...]:
    """``cell`` minus ``against`` in each trial that both have, trials ascending."""
    return tuple(cell.values[trial] - against.values[trial] for trial in cell.values if trial in against.values)


def overlap(cell: Cell, against: Cell) -> Overlap | None:
    """The correlation of the trials of two cells; None if they share one test set and it cannot be estimated.

    It is estimated for accuracy, where all predictions are stored. Else Nadeau and Bengio's value, the upper bound, is
    assumed where trials redraw the test set.
    """
    ratios = [ratio for ratio in (cell.test_over_train, against.test_over_train) if ratio is not None]
    bound, trials = max(ratios, default=None), [trial for trial in cell.values if trial in against.values]
    images = [_image_differences(cell, against, trial) for trial in trials]
    known = [one for one in images if one is not None]
    sources: set[Any] = {record["result"]["split"].get("fingerprint") for record in (*cell.records, *against.records)}
    if cell.metric.key != "accuracy" or len(sources) > 1 or len(known) < max(2, len(trials)):
        return None if bound is None else Overlap(bound, estimated=False)
    sd = max(summarise(paired_differences(cell, against)).sd or 0.0, cell.resolution)  # as in `t_interval`
    ratio = max(0.0, image_covariance(known) / sd**2)
    return Overlap(ratio if bound is None else min(ratio, bound), estimated=True)


def _image_differences(cell: Cell, against: Cell, trial: int) -> ImageOutcomes | None:
    """The paired differences of a trial by test image, in the place of what is right; None if not stored."""
    own, other = cell.image_outcomes(trial), against.image_outcomes(trial)
    if own is None or other is None or not np.array_equal(own.rows, other.rows):
        return None
    return replace(own, correct=own.correct - other.correct)


def correction(cell: Cell, against: Cell) -> float | None:
    """The ratio of `overlap`; None if the correlation is not known."""
    found = overlap(cell, against)
    return None if found is None else found.ratio


def compare_cells(
    row: str, against: str, column: str, cell: Cell, other: Cell, any_data: bool = False
) -> PairedComparison:
    """Compare two cells, or give the reason why they are not comparable.

    With ``any_data`` the data that each uses may differ: the effect of the method and of further data together.
    """
    result = partial(PairedComparison, row, against, column)
    if row == against:
        return result("itself")
    if not cell.values or not other.values:
        return result("absent", reason=cell.absence or other.absence)
    if cell.incomplete or other.incomplete:
        return result("incomplete", reason="incomplete" if cell.incomplete else f"{against} is incomplete")
    if not same_test_sets(cell, other):
        return result("different_test", reason="not comparable: another test set")
    if not any_data and (different := data_difference(cell, other)):
        return result("different_data", reason=f"not comparable; {different}")
    differences = paired_differences(cell, other)
    summary, kind = summarise(differences), evidence(len(differences))
    if kind == "values" or summary.sd is None:
        return result(kind, differences, summary.mean)
    shared, resolution = overlap(cell, other), cell.resolution
    ratio = None if shared is None else shared.ratio
    result = partial(result, overlap=shared)
    limit = minimal_detectable_difference(max(summary.sd, resolution), len(differences), ratio)
    if kind == "range":
        return result(kind, differences, summary.mean, summary.low, summary.high, detectable=limit)
    interval = t_interval(differences, ratio, resolution)
    if kind == "exploratory":
        return result(kind, differences, interval.mean, interval.low, interval.high, detectable=limit)
    # The sign-flip test has no factor for the correlation of trials: where they redraw the test set, a third of its
    # p values lie below 0.05 where nothing differs (benchmarks/calibration.py). On one test set it is exact for further
    # trainings that are tested on the same images.
    p_flip = sign_flip_p(differences) if cell.test_over_train is None else None
    better, worse = one_sided(interval.p, interval.mean * cell.metric.sign)
    tests = PValues(interval.p, better, worse, p_flip)
    return result(kind, differences, interval.mean, interval.low, interval.high, tests, limit)


def one_sided(p: float, gain: float) -> tuple[float, float]:
    """The two one-sided p values (of better, of worse) of a symmetric test with two-sided ``p`` and this gain."""
    return (p / 2, 1 - p / 2) if gain > 0 else (1 - p / 2, p / 2)


def resolved_not_worse(cell: Cell, best: Cell, margin: float) -> bool:
    """Whether ``cell`` gets the dagger against ``best``: comparable, five trials or more, and within the margin.

    That is, the lower end of the two-sided 95 % interval of (row - best) is above ``-margin``, a fraction.
    """
    comparison = compare_cells("row", "best", "", cell, best)
    differences = [cell.metric.sign * value for value in comparison.differences]
    ratio = None if comparison.overlap is None else comparison.overlap.ratio
    return comparison.has_interval and t_interval(differences, ratio, cell.resolution).low > -margin

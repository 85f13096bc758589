"""Statistics of paired trials: pure functions of a few numbers, after section 2.10 of the protocol.

The unit is the trial (one draw of split and labels). Rows share trials, so every difference is computed within trials.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Largest n of the sign-flip test, whose cost grows as 2^(n/2).
SIGN_FLIP_LIMIT = 40


#: Trials from which on claims are made.
HEADLINE_TRIALS = 10


def evidence(n: int) -> Literal["values", "range", "exploratory", "headline"]:
    """What n trials allow: 1 or 2 values only; 3 or 4 mean and range; 5 to 9 an exploratory interval; from 10 p.

    The protocol names n = 3 and n = 5; four trials are treated as three.
    """
    if n < 3:
        return "values"
    if n < 5:
        return "range"
    return "exploratory" if n < HEADLINE_TRIALS else "headline"


@dataclass(frozen=True)
class ValueSummary:
    """Mean, sample standard deviation (n - 1; None for n = 1), smallest and largest of n values."""

    mean: float
    sd: float | None
    low: float
    high: float


def summarise(values: Sequence[float]) -> ValueSummary:
    """The summary of one or more values; the mean is exactly rounded, so it does not depend on their order."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return ValueSummary(statistics.fmean(values), sd, min(values), max(values))


def standard_error(sd: float, n: int, test_over_train: float | None = None) -> float:
    """Standard error of the mean of n paired differences: ``sd * sqrt(1/n + ratio)``.

    The second term is for trials that redraw the test set and so are not independent: the covariance of two trials over
    the expected sample variance, at most n_test/n_train (the corrected resampled t test, Nadeau and Bengio 2003); it is
    0 if ``test_over_train`` is None.
    """
    return sd * math.sqrt(1 / n + (test_over_train or 0.0))


@dataclass(frozen=True)
class TInterval:
    """A mean difference with its two-sided 95 % t interval and p value (against no difference)."""

    mean: float
    low: float
    high: float
    p: float


def t_interval(
    differences: Sequence[float], test_over_train: float | None = None, resolution: float = 0.0
) -> TInterval:
    """Paired t interval and test over n >= 2 differences, df = n - 1; see `standard_error` for the correction.

    The sd is at least ``resolution``, the difference that one test image makes. A difference of k images needs at least
    k images on which the rows disagree, and the binomial variance of their number (McNemar 1947) is about
    k / n_test^2: for one image (1 / n_test)^2. Without this floor a few equal differences of one image would have
    standard error 0 and p = 0.
    """
    from scipy.special import stdtr, stdtrit  # a wrong setting is refused without this import

    n = len(differences)
    summary = summarise(differences)
    if summary.sd is None:
        raise ValueError("a t interval needs two differences")
    error = standard_error(max(summary.sd, resolution), n, test_over_train)
    half = float(stdtrit(n - 1, 0.975)) * error
    t = abs(summary.mean) / error if error > 0 else (math.inf if summary.mean else 0.0)
    return TInterval(summary.mean, summary.mean - half, summary.mean + half, 2 * float(stdtr(n - 1, -t)))


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the exact sign-flip test: the share of all 2^n sign patterns with |sum| >= the observed one.

    The sums of two halves are sorted and searched, so all patterns are counted. None above ``SIGN_FLIP_LIMIT``.
    """
    n = len(differences)
    if n > SIGN_FLIP_LIMIT:
        return None
    values = np.abs(np.asarray(differences, dtype=np.float64))
    # Sums that are equal on paper differ by rounding, and must count as equal.
    threshold = abs(math.fsum(differences)) - 1e-9 * float(values.sum())
    if threshold <= 0:
        return 1.0
    first, second = _signed_sums(values[: n // 2]), np.sort(_signed_sums(values[n // 2 :]))
    at_least = second.size - np.searchsorted(second, threshold - first, side="left")
    # The distribution is symmetric, so the lower tail has the weight of the upper one.
    return min(1.0, 2 * int(at_least.sum()) / 2.0**n)


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """All 2^n sums of +-values, float64 (2^n,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p values, in the order given; each is compared with the family's level."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.arange(len(order), 0, -1) * np.asarray(p_values)[order]
    adjusted = np.maximum.accumulate(np.minimum(1.0, scaled))
    return [float(p) for p in adjusted[np.argsort(order)]]


def pooled_sd(deviations: Sequence[tuple[float, int]]) -> float:
    """Root of the mean variance of several (sd, n), weighted by degrees of freedom n - 1."""
    freedom = sum(n - 1 for _, n in deviations)
    return math.sqrt(sum(sd * sd * (n - 1) for sd, n in deviations) / freedom)


def minimal_detectable_difference(
    sd: float, n: int, test_over_train: float | None = None, level: float = 0.05
) -> float:
    """The true difference that a two-sided paired t test at this level detects with probability 0.8.

    Solves for the noncentrality at which the noncentral t distribution with n - 1 degrees of freedom lies outside the
    critical values with that probability. ``sd`` is that of the paired differences; n >= 3.
    """
    from scipy.optimize import brentq  # its import takes longer than reading hundreds of records
    from scipy.special import nctdtr, stdtrit

    if n < 3:
        raise ValueError("a minimal detectable difference needs three trials")
    df = n - 1
    critical = float(stdtrit(df, 1 - level / 2))

    def shortfall(noncentrality: float) -> float:
        # scipy gives NaN far in the lower tail, where the probability is 0 in double precision
        below, above = np.nan_to_num(nctdtr(df, noncentrality, [-critical, critical]))
        return float(1 - above + below) - 0.8

    return float(brentq(shortfall, 0.0, 2 * critical + 4)) * standard_error(sd, n, test_over_train)

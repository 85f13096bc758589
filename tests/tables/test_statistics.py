"""Each number against scipy or a brute-force reference."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from trigan.tables import statistics as ours


def sample(n: int, seed: int = 0) -> list[float]:
    return list(np.random.default_rng(seed).normal(0.3, 1.0, n))


@pytest.mark.parametrize(
    ("n", "kind"),
    [
        (1, "values"),
        (2, "values"),
        (3, "range"),
        (4, "range"),
        (5, "exploratory"),
        (9, "exploratory"),
        (10, "headline"),
    ],
)
def test_evidence_of_n_trials(n: int, kind: str) -> None:
    assert ours.evidence(n) == kind


def test_summary() -> None:
    values = sample(7)
    found = ours.summarise(values)
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (found.low, found.high) == (min(values), max(values))
    assert ours.summarise([0.5]).sd is None


@pytest.mark.parametrize("n", [2, 5, 10])
def test_t_interval_equals_scipy(n: int) -> None:
    values = sample(n)
    reference = stats.ttest_1samp(values, 0.0)
    interval = reference.confidence_interval(0.95)
    found = ours.t_interval(values)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, reference.pvalue))


def test_nadeau_bengio_widens_the_interval_by_its_factor() -> None:
    values, ratio = sample(10), 0.25
    plain, corrected = ours.t_interval(values), ours.t_interval(values, ratio)
    factor = math.sqrt((1 / 10 + ratio) / (1 / 10))
    assert (corrected.high - corrected.low) / (plain.high - plain.low) == pytest.approx(factor)
    # Their statistic, written out: mean / sqrt((1/n + n2/n1) * s^2), n - 1 degrees of freedom.
    t = np.mean(values) / math.sqrt((1 / 10 + ratio) * np.var(values, ddof=1))
    assert corrected.p == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_equal_differences_have_a_point_interval() -> None:
    found = ours.t_interval([0.5, 0.5, 0.5])
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0.0)
    assert ours.t_interval([0.0, 0.0]).p == 1.0


@pytest.mark.parametrize("n", [5, 10])
def test_equal_differences_of_one_image_have_its_binomial_variance(n: int) -> None:
    """One image of 500 in each trial: t is sqrt(n), whatever the size of the test set; scipy's p of it."""
    found = ours.t_interval([1 / 500] * n, resolution=1 / 500)
    assert found.p == pytest.approx(2 * stats.t.sf(math.sqrt(n), n - 1))
    assert found.p > 0.01
    # The variance is that of a difference with one discordant image: b + c = 1 of n_test (McNemar).
    discordant = stats.binom(500, 1 / 500)
    assert discordant.std() / 500 == pytest.approx(1 / 500, rel=0.002)
    assert ours.t_interval([0.0] * n, resolution=1 / 500).p == 1.0


def test_the_floor_leaves_larger_deviations_as_they_are() -> None:
    values = sample(8)
    assert ours.t_interval(values, resolution=0.5 * float(np.std(values, ddof=1))) == ours.t_interval(values)


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 1.0, 1.0], [0.1, 0.2, 0.3, -0.3], [0.0, 0.0, 0.4], sample(9), sample(10)]
)
def test_sign_flip_equals_the_list_of_all_signs(values: list[float]) -> None:
    observed = abs(sum(values))
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=len(values))]
    brute = np.mean([total >= observed - 1e-9 for total in sums])
    assert ours.sign_flip_p(values) == pytest.approx(brute)


def test_sign_flip_equals_scipy_on_pairs() -> None:
    values = sample(12, 3)
    reference = stats.permutation_test(
        (values, np.zeros(12)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert ours.sign_flip_p(values) == pytest.approx(reference.pvalue)


def test_sign_flip_is_exact_for_many_trials_and_absent_for_more() -> None:
    # With n equal differences two of the 2^n patterns reach the sum.
    assert ours.sign_flip_p([1.0] * 30) == pytest.approx(2 / 2**30)
    assert ours.sign_flip_p([1.0] * 41) is None


def test_holm_equals_closed_testing() -> None:
    """Holm is the closure of Bonferroni: the largest |I| min p over all sets I that hold the hypothesis."""
    p_values = [0.01, 0.04, 0.03, 0.005, 0.5]
    subsets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
    closed = [max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s) for i in range(5)]
    assert ours.holm(p_values) == pytest.approx(closed)
    assert ours.holm([]) == []


@pytest.mark.parametrize("level", [0.05, 0.002])
@pytest.mark.parametrize("n", [3, 4, 5, 10, 34])
def test_minimal_detectable_difference_has_its_power(n: int, level: float) -> None:
    """At that true difference scipy's noncentral t leaves 80 % outside the critical values."""
    sd = 1.7
    difference = ours.minimal_detectable_difference(sd, n, level=level)
    noncentrality, critical = difference / (sd / math.sqrt(n)), stats.t.isf(level / 2, n - 1)
    power = stats.nct.sf(critical, n - 1, noncentrality) + np.nan_to_num(stats.nct.cdf(-critical, n - 1, noncentrality))
    assert power == pytest.approx(0.8, abs=1e-6)


def test_minimal_detectable_difference_by_simulation() -> None:
    difference = ours.minimal_detectable_difference(1.0, 5)
    draws = np.random.default_rng(0).normal(difference, 1.0, (20_000, 5))
    assert (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)
    assert ours.minimal_detectable_difference(1.0, 5, 0.5) == pytest.approx(difference * math.sqrt((0.2 + 0.5) / 0.2))


def test_two_trials_detect_nothing() -> None:
    with pytest.raises(ValueError, match="three trials"):
        ours.minimal_detectable_difference(1.0, 2)

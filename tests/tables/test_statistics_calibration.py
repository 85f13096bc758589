"""Calibration of the statistics by simulation; benchmarks/calibration.py is the full version."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPLICATES = 300


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    return load("calibration")


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    return load("calibration_claims")


def load(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near(calibration: ModuleType, share: float, expected: float, replicates: int = REPLICATES) -> bool:
    """Within what 99.9 % of such simulations give."""
    low, high = calibration.binomial(expected, replicates, 0.999)
    return bool(low <= share <= high)


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", ["normal", "redrawn test sets, as assumed", "redrawn, same errors each time"])
def test_intervals_cover_and_two_names_for_one_strategy_do_not_differ(
    calibration: ModuleType, name: str, n: int
) -> None:
    found = calibration.pair(name, n, 0.0, REPLICATES, seed=1)
    assert near(calibration, found["coverage"], 0.95)
    assert near(calibration, found["rejected"], 0.05)


@pytest.mark.parametrize(("n", "power"), [(5, 0.401), (10, 0.803)])
def test_power_is_that_of_the_paired_t_test(calibration: ModuleType, n: int, power: float) -> None:
    """At a true difference of one sd (noncentral t, tabulated in Cohen 1988)."""
    assert near(calibration, calibration.pair("normal", n, 1.0, REPLICATES, seed=1)["rejected"], power)


def test_without_the_factor_redrawn_test_sets_would_be_far_off(
    calibration: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the simulation can fail: the same trials, taken for independent."""
    monkeypatch.setitem(calibration.PAIRS, "naive", (calibration.equicorrelated, False, False))
    assert calibration.pair("naive", 10, 0.0, REPLICATES, seed=1)["coverage"] < 0.8


def test_a_table_of_equal_rows_claims_a_gain_in_5_percent_at_most(calibration: ModuleType) -> None:
    tables = 150
    _, most = calibration.binomial(0.05, tables, 0.999)
    one = calibration.family_wise("normal", 10, 1, tables, seed=1)
    assert one["either"] <= most
    several = calibration.family_wise("normal", 10, 3, tables, seed=1)
    assert several["either"] <= most
    assert calibration.family_wise("normal", 5, 3, 20, seed=1)["either"] == 0, "five trials claim nothing"


def test_equal_rows_through_the_whole_verdict(calibration: ModuleType, claims: ModuleType) -> None:
    noise = 0.9 + 0.01 * np.random.default_rng(4).normal(size=(100, claims.GANS + claims.BASELINES, 10))
    _, most = calibration.binomial(0.05, 100, 0.999)
    assert claims.verdicts("normal", noise, calibration.record)["not counted: either"] <= most
    noise[:, 0] += 0.03
    found = claims.verdicts("normal", noise, calibration.record)
    assert found["counted, first look: better"] > 0.9, "the simulation can fail"


def test_the_estimated_correlation_covers_where_the_assumed_one_is_too_wide(
    calibration: ModuleType, claims: ModuleType
) -> None:
    found = claims.correlation(0.0, 10, True, REPLICATES, calibration.record, seed=1)
    assert near(calibration, found["coverage, estimated"], 0.95)
    assert found["coverage, assumed"] > 0.99
    assert found["width"] < 0.6
    alike = claims.correlation(1.0, 10, True, REPLICATES, calibration.record, seed=1)
    assert alike["coverage, estimated"] > 0.9


def test_intervals_on_one_test_set_cover_the_difference_over_all_images(
    calibration: ModuleType, claims: ModuleType
) -> None:
    found = claims.correlation(1.0, 10, False, REPLICATES, calibration.record, seed=1)
    assert near(calibration, found["coverage, estimated"], 0.95)
    assert found["coverage, left out"] < 0.3, "the simulation can fail"


def test_a_dagger_beside_the_true_best_is_rarely_false(calibration: ModuleType) -> None:
    found = calibration.marks(10, calibration.SD / 3, 150, seed=1)
    _, most = calibration.binomial(0.025, 3 * 150, 0.999)
    assert 0 < found["false_daggers_a_row_beside_the_true_best"] <= most

import numpy as np
import pytest

from trigan.datasets.splits.regime import ExponentialImbalance, PairNoise, Regime, StepImbalance, SymmetricNoise
from trigan.errors import ConfigError

POOL = np.full(10, 1000)


@pytest.mark.parametrize(
    ("labels", "train", "validation"),
    [(1, 1, 0), (4, 4, 0), (10, 10, 0), (11, 9, 2), (20, 16, 4), (100, 80, 20)],
)
def test_validation_labels_are_labels(labels: int, train: int, validation: int) -> None:
    budget = Regime(labels_per_class=labels).budget(POOL)
    assert budget[0].tolist() == [train] * 10
    assert budget[1].tolist() == [validation] * 10


def test_within_validates_even_with_few_labels() -> None:
    budget = Regime(labels_per_class=4, validation="within").budget(POOL)
    assert (budget[0][0], budget[1][0]) == (3, 1)
    assert Regime(labels_per_class=1, validation="within").budget(POOL)[1].tolist() == [0] * 10
    assert Regime(labels_per_class=4, validation="within", validation_fraction=0.5).budget(POOL)[1][0] == 2


def test_fraction_full_and_large() -> None:
    assert Regime(fraction=0.1, validation="none").budget(POOL)[0].tolist() == [100] * 10
    assert [part[0] for part in Regime().budget(POOL)] == [800, 200]
    assert [part[0] for part in Regime(validation="large").budget(POOL)] == [833, 167]
    assert [part[0] for part in Regime(labels_per_class=7, validation="large").budget(POOL)] == [7, 167]
    assert [p[0] for p in Regime(labels_per_class=7, validation="large", validation_fraction=0.5).budget(POOL)] == [
        7,
        500,
    ]


def test_a_single_label_trains_whatever_validates() -> None:
    for validation in ("auto", "within", "large"):
        train, chosen = Regime(validation=validation).budget(np.array([100, 1]))  # type: ignore[arg-type]
        assert (train[1], chosen[1]) == (1, 0), validation


def test_a_class_without_images_gets_nothing() -> None:
    pool = np.array([50, 0, 50])
    train, validation = Regime(fraction=0.5).budget(pool)
    assert train[1] == validation[1] == 0
    assert Regime(imbalance=ExponentialImbalance(5)).imbalanced_counts(pool).tolist() == [50, 0, 10]


def test_exponential_is_the_long_tail_formula() -> None:
    mu = 1 / 100
    expected = [5000 * mu ** (k / 9) for k in range(10)]
    assert (5000 * ExponentialImbalance(100).class_fractions(10)).tolist() == pytest.approx(expected)
    assert Regime(imbalance=ExponentialImbalance(100)).imbalanced_counts(np.full(10, 5000)).tolist() == [
        round(n) for n in expected
    ]


def test_thinning_keeps_the_ratio_on_an_uneven_pool() -> None:
    pool = np.array([900, 1000, 400, 1000])
    thinned = Regime(imbalance=StepImbalance(10)).imbalanced_counts(pool)
    assert thinned.tolist() == [900, 900, 90, 90]
    assert StepImbalance(2, minority_fraction=0.1).class_fractions(4).tolist() == [1, 1, 1, 0.5]
    assert StepImbalance(2, minority_fraction=0.99).class_fractions(4).tolist() == [1, 0.5, 0.5, 0.5]


def test_symmetric_noise_reaches_all_other_classes_evenly() -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, (20000, 2)).astype(np.uint64)
    labels = np.arange(20000) % 5
    noisy = SymmetricNoise(0.5)(labels, keys, 5)
    steps = np.bincount((noisy - labels) % 5, minlength=5)
    assert steps[0] == 10000
    assert np.allclose(steps[1:], 2500, atol=150)
    assert (PairNoise(1.0)(labels, keys, 5) == (labels + 1) % 5).all()
    assert (SymmetricNoise(0.0)(labels, keys, 5) == labels).all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"labels_per_class": 5, "fraction": 0.1}, "labels_per_class and regime.fraction"),
        ({"labels_per_class": 0}, "labels_per_class: 0 must"),
        ({"fraction": 0.0}, "fraction: 0.0 must"),
        ({"fraction": 1.5}, "fraction: 1.5 must"),
        ({"unlabelled": "some"}, "unlabelled: some must"),
        ({"unlabelled": -1}, "unlabelled: -1 must"),
        ({"unlabelled": True}, "unlabelled: True must"),
        ({"validation": "huge"}, "validation: huge must"),
        ({"validation_fraction": 1.0}, "validation_fraction: 1.0 must"),
    ],
)
def test_impossible_regimes_are_refused_in_one_line(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        Regime(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "bad",
    [lambda: ExponentialImbalance(0.5), lambda: StepImbalance(0), lambda: SymmetricNoise(1.2), lambda: PairNoise(-0.1)],
)
def test_impossible_ratios_and_rates(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^rat(e|io): .* must be"):
        bad()  # type: ignore[operator]
    with pytest.raises(ConfigError, match="minority_fraction"):
        StepImbalance(10, minority_fraction=1.0)

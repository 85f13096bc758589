import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trigan.datasets.splits.label_noise import PairNoise, SymmetricNoise
from trigan.datasets.splits.regime import ExplicitCounts, ExponentialImbalance, Regime, StepImbalance
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


#: Pools of 2 to 12 classes with 1 to 3,000 images each.
POOLS = st.lists(st.integers(1, 3000), min_size=2, max_size=12).map(np.array)


@st.composite
def imbalanced(draw: st.DrawFn) -> tuple[Regime, np.ndarray]:
    """A regime with any imbalance and budget, and a pool that it can be drawn from."""
    pool = draw(POOLS)
    ratio = draw(st.floats(1.0, 500.0))
    counts = tuple(draw(st.integers(1, int(size))) for size in pool)
    kinds = (ExponentialImbalance(ratio), StepImbalance(ratio, draw(st.floats(0.01, 0.99))), ExplicitCounts(counts))
    validation = draw(st.sampled_from(["auto", "within", "none", "large"]))
    return Regime(validation=validation, imbalance=draw(st.sampled_from(kinds))), pool  # type: ignore[arg-type]


@given(imbalanced())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_imbalance_keeps_its_shape_and_validates_from_the_same_pool(case: tuple[Regime, np.ndarray]) -> None:
    regime, pool = case
    imbalance, kept = regime.imbalance, regime.imbalanced_counts(pool)
    assert imbalance is not None
    fractions = imbalance.class_fractions(len(pool))
    assert fractions.max() == 1.0
    assert fractions.min() > 0.0
    assert (kept >= 1).all()
    assert (kept <= pool).all()
    if isinstance(imbalance, ExplicitCounts):
        assert kept.tolist() == list(imbalance.counts)
    else:
        largest = (pool / fractions).min()
        assert (np.abs(kept - largest * fractions) <= np.where(largest * fractions < 1, 1.0, 0.5)).all()
    train, validation = regime.budget(kept)
    assert (train >= 1).all()
    assert (train + validation <= kept).all()
    if regime.validation != "large":
        assert (train + validation == kept).all(), "every image of the thinned pool has a label"
    assert ((validation >= 1) == (kept > 1)).all() or regime.validation in ("none", "auto")
    ordered = np.argsort(-kept, kind="stable")
    assert (np.diff(train[ordered]) <= 0).all(), "training labels have the order of the pool"
    assert (np.diff(validation[ordered]) <= 0).all(), "validation has the imbalance of the pool"


@given(st.integers(2, 40), st.floats(1.0, 1000.0))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_long_tail_falls_by_the_same_factor_from_class_to_class(classes: int, ratio: float) -> None:
    fractions = ExponentialImbalance(ratio).class_fractions(classes)
    assert fractions[0] / fractions[-1] == pytest.approx(ratio)
    assert np.allclose(fractions[1:] / fractions[:-1], ratio ** (-1 / (classes - 1)))
    small = StepImbalance(ratio).class_fractions(classes)
    assert set(small.tolist()) <= {1.0, 1 / ratio}
    assert (small < 1).sum() == (round(0.5 * classes) if ratio > 1 else 0)


def test_explicit_counts_are_those_of_the_data_or_refused() -> None:
    regime = Regime(imbalance=ExplicitCounts((4000, 2000, 40)))
    assert regime.imbalanced_counts(np.full(3, 6000)).tolist() == [4000, 2000, 40]
    assert [part.tolist() for part in regime.budget(np.array([4000, 2000, 40]))] == [[3200, 1600, 32], [800, 400, 8]]
    assert regime.proportional_counts(np.full(3, 1000)).tolist() == [1000, 500, 10]
    with pytest.raises(ConfigError, match=r"^regime.imbalance.counts: 4000 for class 0 must be at most 3000, the"):
        regime.imbalanced_counts(np.full(3, 3000))
    with pytest.raises(ConfigError, match=r"^regime.imbalance.counts: 3 numbers must be 4, one for each class"):
        regime.imbalanced_counts(np.full(4, 6000))
    for bad in ((), (5,), (5, 0)):
        with pytest.raises(ConfigError, match=r"^counts: .* must be a list with 1 or more"):
            ExplicitCounts(bad)

"""The table's numbers, recomputed without our own code; incomparable rows are not compared."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.layout.footnotes import footnotes
from trigan.tables.paired_comparison import resolved_not_worse
from trigan.tables.table import Family, Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]
BASE = [0.80, 0.82, 0.81, 0.79, 0.83]
BETTER = [0.84, 0.85, 0.86, 0.82, 0.85]


def spec(*rows: str, **settings: object) -> TableSpec:
    return TableSpec("t", rows, ("x",), **settings)  # type: ignore[arg-type]


def test_a_table_of_five_trials_recomputed(records: MakeAll) -> None:
    places = {("a", "x"): records(BASE), ("b", "x"): records(BETTER)}
    table = build_table(places, spec("a", "b", reference="a"))
    summary, one = table.cells["b", "x"].summary, table.differences["b", "x"]
    assert summary is not None
    assert (summary.mean, summary.sd) == pytest.approx((np.mean(BETTER), np.std(BETTER, ddof=1)))
    reference = stats.ttest_rel(BETTER, BASE)
    interval = reference.confidence_interval(0.95)
    assert one.kind == "exploratory"
    assert (one.mean, one.low, one.high) == pytest.approx(
        (np.mean(np.subtract(BETTER, BASE)), interval.low, interval.high)
    )
    assert one.p is None
    assert table.differences["a", "x"].kind == "itself"
    assert table.best == {("b", "x")}
    critical, error = stats.t.isf(0.025, 4), np.std(np.subtract(BETTER, BASE), ddof=1) / np.sqrt(5)
    assert one.detectable is not None
    power = stats.nct(4, one.detectable / error)
    assert power.sf(critical) + power.cdf(-critical) == pytest.approx(0.8, abs=1e-6)


def test_ten_trials_have_p_and_holm_in_the_family(records: MakeAll) -> None:
    draw = np.random.default_rng(0)
    values = {row: list(0.8 + 0.01 * i + 0.01 * draw.normal(size=10)) for i, row in enumerate("abcd")}
    places = {(row, "x"): records(found) for row, found in values.items()}
    table = build_table(places, spec(*"abcd", reference="a", family=Family(("c", "d"), ("a", "b"))))
    sides = []
    for row in "cd":
        greater, less = (
            [stats.ttest_rel(values[row], values[base], alternative=side).pvalue for base in "ab"]
            for side in ("greater", "less")
        )
        sides += [max(greater), min(1, 2 * min(less))]  # better than both; worse than one of two
    assert [one.against for one in table.primary] == ["b", "b"]
    assert [one.p for one in table.primary] == pytest.approx([2 * min(sides[:2]), 2 * min(sides[2:])])
    adjusted = multipletests(sides)
    assert [one.p_holm for one in table.primary] == pytest.approx([min(adjusted[:2]), min(adjusted[2:])])
    assert table.differences["b", "x"].p == pytest.approx(stats.ttest_rel(values["b"], values["a"]).pvalue)
    assert table.differences["b", "x"].p_holm is None
    assert table.differences["b", "x"].p_sign_flip is not None


def test_a_row_is_compared_with_its_own_matched_baselines(records: MakeAll) -> None:
    """The other rows' are stronger here, since they had more compute."""
    values = {"bare": 0.5, "m to a": 0.6, "m to b": 0.9, "a": 0.7, "b": 0.8}
    flops = {"bare": 1, "m to a": 10, "m to b": 12, "a": 10, "b": 10}
    places = {(row, "x"): records([value] * 3, cost={"flops": flops[row]}) for row, value in values.items()}
    family, matched = Family(("a", "b"), ("bare", "m to a", "m to b")), {"m to a": "a", "m to b": "b"}
    table = build_table(places, spec(*values, family=family, matched=matched))
    assert {one.row: one.against for one in table.primary} == {"a": "m to a", "b": "m to b"}
    assert dict(table.unmatched_costs) == {("m to b", "x"): 1.2}
    lines = footnotes(table, "*")
    assert "Not matched: on x, m to b has 1.20 times the operations of b." in lines
    assert any(
        line.startswith("Matched compute: the baseline has the operations of the row in its name") for line in lines
    )
    with pytest.raises(ConfigError, match="'z' is no row"):
        spec(*values, family=family, matched={"m to a": "z"})


def test_better_than_the_strongest_alone_is_not_better(records: MakeAll) -> None:
    """The strongest baseline by its mean is beaten in every trial; another one, as noisy as can be, is not."""
    noise = 0.3 * np.random.default_rng(0).normal(size=10)
    noise -= noise.mean()
    values = {"strong": BASE * 2, "noisy": [v - 0.01 + e for v, e in zip(BASE * 2, noise, strict=True)]}
    wobble = 0.001 * np.arange(10)
    values["gan"] = [v + 0.05 + w for v, w in zip(BASE * 2, wobble, strict=True)]
    places = {(row, "x"): records(found) for row, found in values.items()}
    one = build_table(places, spec(*values, family=Family(("gan",), ("strong", "noisy")))).primary[0]
    assert (one.against, one.claim) == ("strong", "not resolved")
    assert one.low is not None
    assert one.low > 0
    assert one.tests is not None
    assert one.tests.better == pytest.approx(
        stats.ttest_rel(values["gan"], values["noisy"], alternative="greater").pvalue
    )
    lone = build_table(places, spec(*values, family=Family(("gan",), ("strong",)))).primary[0]
    assert lone.claim == "better"


def test_without_a_family_the_differences_are_one(records: MakeAll) -> None:
    draw = np.random.default_rng(1)
    values = {row: list(0.8 + 0.004 * i + 0.01 * draw.normal(size=10)) for i, row in enumerate("abc")}
    table = build_table({(row, "x"): records(found) for row, found in values.items()}, spec(*"abc", reference="a"))
    sides = [
        stats.ttest_rel(values[row], values["a"], alternative=side).pvalue
        for row in "bc"
        for side in ("greater", "less")
    ]
    adjusted = multipletests(sides)
    assert [table.differences[row, "x"].p_holm for row in "bc"] == pytest.approx([min(adjusted[:2]), min(adjusted[2:])])
    assert table.differences["a", "x"].claim == "not decided"


def multipletests(p: list[float]) -> list[float]:
    """Holm, as the definition says: the i-th smallest of m times m - i, and never below a smaller one."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    steps = [min(1.0, (len(p) - rank) * p[i]) for rank, i in enumerate(order)]
    return [max(steps[: order.index(i) + 1]) for i in range(len(p))]


def test_the_strongest_baseline_uses_the_same_data(records: MakeAll) -> None:
    unlabelled = {"data_used": {"U": 900}}
    places = {
        ("bare", "x"): records(BASE),
        ("strong", "x"): records([v + 0.1 for v in BASE], **unlabelled),
        ("self-trained", "x"): records([v + 0.05 for v in BASE], **unlabelled),
        ("joint", "x"): records(BETTER, **unlabelled),
        ("augment", "x"): records(BETTER),
        ("x-ray", "x"): records(BETTER, data_used={"X": 5}),
    }
    family = Family(("joint", "augment", "x-ray"), ("bare", "self-trained", "strong"))
    table = build_table(places, spec(*[row for row, _ in places], family=family))
    assert [(one.row, one.against, one.kind) for one in table.primary] == [
        ("joint", "strong", "exploratory"),
        ("augment", "bare", "exploratory"),
        ("x-ray", "", "different_data"),
    ]


@pytest.mark.parametrize(
    ("data_used", "reason"),
    [
        ({"U": 900}, "not comparable; also uses unlabelled images"),
        ({"L": 80}, "not comparable; uses fewer labelled images"),
        ({"L": 80, "V": 20}, "not comparable; uses fewer labelled images; also uses validation labels"),
        ({"U": 900, "X": 5}, "not comparable; also uses unlabelled images; also uses images of other data sets"),
    ],
)
def test_rows_with_different_data_have_no_interval(records: MakeAll, data_used: dict[str, int], reason: str) -> None:
    places = {("a", "x"): records(BASE), ("b", "x"): records(BETTER, data_used=data_used)}
    table = build_table(places, spec("a", "b", reference="a"))
    one = table.differences["b", "x"]
    assert (one.kind, one.reason) == ("different_data", reason)
    assert (one.mean, one.low, one.p) == (None, None, None)
    assert not table.not_worse
    assert one.detectable is None


@pytest.mark.parametrize("key", ["test", "fingerprint"])
def test_rows_are_subtracted_on_the_same_test_images_alone(records: MakeAll, key: str) -> None:
    """One trial of ten with another test set, or other images under the same indices, is enough."""

    def row(lead: float) -> list[Record]:
        made = records([value + lead for value in BASE * 2])
        for trial, record in enumerate(made):
            split: dict[str, object] = record["result"]["split"]  # type: ignore[assignment]
            split |= {"fingerprint": "f", "test": {"size": 500, "sha256": f"t{trial}"}}
        return made

    base, other = row(0.0), row(0.1)
    family = Family(("b",), ("a",))
    made = spec("a", "b", reference="a", family=family)
    assert build_table({("a", "x"): base, ("b", "x"): other}, made).differences["b", "x"].kind == "headline"
    other[7]["result"]["split"] |= {"fingerprint": "g"} if key == "fingerprint" else {"test": {"sha256": "u"}}  # type: ignore[typeddict-item]
    table = build_table({("a", "x"): base, ("b", "x"): other}, made)
    assert table.differences["b", "x"].reason == "not comparable: another test set"
    assert (table.primary[0].claim, table.primary[0].reason) == ("not decided", "a has another test set")
    assert table.primary[0].mean is None
    assert not table.not_worse


def test_one_image_more_in_each_of_five_trials_is_not_certain(records: MakeAll) -> None:
    places = {("a", "x"): records(BASE), ("b", "x"): records([value + 1 / 500 for value in BASE])}
    one = build_table(places, spec("a", "b", reference="a")).differences["b", "x"]
    assert one.low is not None
    assert one.low < 0
    assert one.detectable is not None
    assert one.detectable > 1 / 500
    same = build_table({("a", "x"): records(BASE * 2), ("b", "x"): records(BASE * 2)}, spec("a", "b", reference="a"))
    assert (same.differences["b", "x"].p, same.differences["b", "x"].claim) == (1.0, "not resolved")


def test_one_trial_with_different_data_is_enough(records: MakeAll) -> None:
    other = records(BETTER)
    other[3]["result"]["data_used"]["U"] = 1
    table = build_table({("a", "x"): records(BASE), ("b", "x"): other}, spec("a", "b", reference="a"))
    assert table.differences["b", "x"].reason == "not comparable; also uses unlabelled images"


@pytest.mark.parametrize("n", [3, 4])
def test_three_and_four_trials_give_a_range_and_no_interval(records: MakeAll, n: int) -> None:
    places = {("a", "x"): records(BASE[:n]), ("b", "x"): records(BETTER[:n])}
    table = build_table(places, spec("a", "b", reference="a"))
    one, differences = table.differences["b", "x"], np.subtract(BETTER, BASE)[:n]
    assert one.kind == "range"
    assert (one.low, one.high) == pytest.approx((min(differences), max(differences)))
    assert one.p is None
    assert not table.not_worse


def test_two_trials_give_values(records: MakeAll) -> None:
    table = build_table({("a", "x"): records(BASE[:2]), ("b", "x"): records(BETTER[:2])}, spec("a", "b", reference="a"))
    one = table.differences["b", "x"]
    assert (one.kind, one.low, one.high) == ("values", None, None)
    assert one.detectable is None


def test_incomplete_cells_get_no_test_no_mark_and_are_no_best(records: MakeAll) -> None:
    draw = np.random.default_rng(1).normal(0.8, 0.01, 10)
    places = {("a", "x"): records(list(draw)), ("b", "x"): records(list(draw + 0.1))[:-1], ("c", "x"): []}
    table = build_table(places, spec(*"abc", reference="a", family=Family(("b",), ("a",))))
    assert table.cells["b", "x"].incomplete
    assert table.differences["b", "x"].kind == "incomplete"
    assert table.differences["c", "x"].reason == "no run"
    assert table.primary[0].kind == "incomplete"
    assert table.primary[0].p is None
    assert table.best == {("a", "x")}
    turned = build_table({("a", "x"): places["b", "x"], ("b", "x"): places["a", "x"]}, spec("a", "b", reference="a"))
    assert turned.differences["b", "x"].reason == "a is incomplete"


def test_declared_trials_rule(records: MakeAll) -> None:
    places = {("a", "x"): records(BASE)}
    assert build_table(places, spec("a", trials=tuple(range(6)))).cells["a", "x"].incomplete
    table = build_table(places, spec("a", trials=(0, 2)))
    assert list(table.cells["a", "x"].values) == [0, 2]


def test_ties_are_both_best_and_one_more_digit_is_not(records: MakeAll) -> None:
    places = {
        ("a", "x"): records([0.7, 0.9, 0.8]),
        ("b", "x"): records([0.9, 0.8, 0.7]),
        ("c", "x"): records([0.7, 0.8, 0.89]),
    }
    assert build_table(places, spec(*"abc")).best == {("a", "x"), ("b", "x")}


def test_the_lowest_is_best_where_less_is_better(records: MakeAll) -> None:
    low, high = records(BASE), records(BETTER)
    for i, record in enumerate([*low, *high]):
        record["result"]["test"]["nll"] = float(i)
    svm = records(BASE)
    table = build_table({("a", "x"): low, ("b", "x"): high, ("svm", "x"): svm}, spec("a", "b", "svm", metric="nll"))
    assert table.best == {("a", "x")}
    assert table.cells["svm", "x"].absence == "not defined"


def test_nadeau_bengio_if_and_only_if_the_test_set_is_redrawn(records: MakeAll) -> None:
    def width(**split: object) -> float:
        places = {("a", "x"): records(BASE, split=split), ("b", "x"): records(BETTER, split=split)}
        table = build_table(places, spec("a", "b", reference="a"))
        one = table.differences["b", "x"]
        assert one.low is not None
        assert one.high is not None
        return one.high - one.low

    plain = width(test_redrawn=False, n_train=1000, n_test=500)
    assert width(test_redrawn=False, n_train=1000, n_test=250) == pytest.approx(plain)
    redrawn = width(test_redrawn=True, n_train=1000, n_test=500)
    assert redrawn / plain == pytest.approx(np.sqrt((1 / 5 + 500 / 1000) / (1 / 5)))


def test_the_dagger_depends_on_the_lower_end_of_the_interval(records: MakeAll) -> None:
    many = {"n_test": 100_000}  # so that one image's worth is below the deviations
    close_values = [0.837, 0.848, 0.859, 0.817, 0.849]
    places = {("best", "x"): records(BETTER, split=many), ("close", "x"): records(close_values, split=many)}
    cells = build_table(places, spec("best", "close")).cells
    best, close = cells["best", "x"], cells["close", "x"]
    differences = np.subtract(list(close.values.values()), BETTER)
    low = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95).low
    assert resolved_not_worse(close, best, margin=-low + 1e-6)
    assert not resolved_not_worse(close, best, margin=-low - 1e-6)


def test_the_dagger_needs_five_trials_and_a_margin(records: MakeAll) -> None:
    close = [v - 0.001 - 0.0002 * i for i, v in enumerate(BETTER)]
    places = {("best", "x"): records(BETTER), ("close", "x"): records(close), ("far", "x"): records(BASE)}
    assert build_table(places, spec("best", "close", "far")).not_worse == {("close", "x")}
    assert build_table(places, spec("best", "close", "far", margin=0.1)).not_worse == frozenset()
    few = {place: found[:4] for place, found in places.items()}
    assert build_table(few, spec("best", "close", "far")).not_worse == frozenset()
    places["close", "x"] = records(close, data_used={"L": 90})
    assert build_table(places, spec("best", "close", "far")).not_worse == frozenset()


def test_seeds_of_one_trial_are_averaged(record: Callable[..., Record]) -> None:
    found = [record(0.8, 0, seed=0), record(0.9, 0, seed=1), record(0.7, 1)]
    cell = build_table({("a", "x"): found}, spec("a")).cells["a", "x"]
    assert cell.values == pytest.approx({0: 0.85, 1: 0.7})
    assert cell.n == 2
    assert cell.several_seeds


def test_diverged_runs_are_kept(records: MakeAll) -> None:
    found = records(BASE)
    found[1]["result"]["status"] = "diverged"
    cell = build_table({("a", "x"): found}, spec("a")).cells["a", "x"]
    assert (cell.diverged, cell.n, cell.incomplete) == (1, 5, False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metric": "f1"}, "metric is 'f1', should be one of accuracy"),
        ({"reference": "z"}, "'z' is no row; rows are a, b"),
        ({"family": Family(("a",), ("z",))}, "'z' is no row"),
        ({"margin": 0.0}, "margin"),
    ],
)
def test_a_wrong_spec_gives_a_one_line_error(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec("a", "b", **settings)


def test_records_outside_the_table_are_an_error(records: MakeAll) -> None:
    with pytest.raises(ConfigError, match="row 'z'"):
        build_table({("z", "x"): records(BASE)}, spec("a"))


def test_a_table_cannot_be_changed(records: MakeAll) -> None:
    table: Table = build_table({("a", "x"): records(BASE)}, spec("a"))
    with pytest.raises(TypeError):
        table.cells["a", "x"] = None  # type: ignore[index]


def test_an_incomplete_baseline_makes_the_comparison_incomplete(records: MakeAll) -> None:
    """It might be the strongest."""
    places = {
        ("weak", "x"): records([0.80, 0.81, 0.82]),
        ("strong", "x"): records([0.90]),
        ("gan", "x"): records([0.85, 0.86, 0.87]),
    }
    made = spec("weak", "strong", "gan", family=Family(("gan",), ("weak", "strong")), trials=(0, 1, 2))
    (found,) = build_table(places, made).primary
    assert (found.kind, found.against, found.reason) == ("incomplete", "strong", "strong is incomplete")


def test_no_sign_flip_where_trials_redraw_the_test_set(records: MakeAll) -> None:
    """Their differences are not independent, which the t interval is corrected for and sign flips are not."""
    split = {"test_redrawn": True, "n_train": 1000, "n_test": 500}
    values = [0.9, 0.91, 0.92, 0.9, 0.93, 0.9, 0.91, 0.94, 0.9, 0.92]
    places = {("a", "x"): records([0.9] * 10, split=split), ("b", "x"): records(values, split=split)}
    found = build_table(places, TableSpec("t", ("a", "b"), ("x",), reference="a")).differences["b", "x"]
    assert found.p is not None
    assert found.p_sign_flip is None

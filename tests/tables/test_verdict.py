"""The verdict: gains, label equivalents, attribution, and the page."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from trigan.reports.verdict_page import VerdictContext, VerdictResult, headline_lines, render_verdict
from trigan.scores import METRICS
from trigan.tables.cell import Cell
from trigan.tables.layout.footnotes import summary_paragraph
from trigan.tables.statistics import minimal_detectable_difference
from trigan.tables.table import Family, Table, TableSpec, build_table, table_data
from trigan.tables.verdict import LabelCurve, headline, label_equivalent, row_verdicts

Records = Callable[..., Any]
L, LU = {"L": 100, "U": 0, "V": 0, "X": 0}, {"L": 100, "U": 900, "V": 0, "X": 0}
CHAINS = {"joint": (("augmentation", "bare"), ("unlabelled images", "classic"), ("generator", "FixMatch"))}


def table(records: Records, gain: float = 0.05, noise: float = 0.002, n: int = 10, redrawn: bool = False) -> Table:
    """Four rows; ``joint`` is ``gain`` above FixMatch, with ``noise``."""
    draw = np.random.Generator(np.random.PCG64(3))

    def row(mean: float, data_used: dict[str, int], flops: int) -> Any:
        values = [mean + noise * float(x) for x in draw.normal(size=n)]
        return records(values, data_used=data_used, cost={"flops": flops}, split={"test_redrawn": redrawn})

    places = {
        ("bare", "all"): row(0.70, L, 100),
        ("classic", "all"): row(0.75, L, 100),
        ("FixMatch", "all"): row(0.80, LU, 300),
        ("joint", "all"): row(0.80 + gain, LU, 450),
    }
    family = Family(("joint",), ("bare", "classic", "FixMatch"))
    spec = TableSpec(
        "t",
        ("bare", "classic", "FixMatch", "joint"),
        ("all",),
        tuple(range(n)),
        "accuracy",
        "classic",
        family,
        ablations=CHAINS,
    )
    return build_table(places, spec)


def curve(records: Records, n: int = 10, slope: float = 0.1) -> LabelCurve:
    """``slope`` more for each doubling of labels, from 0.7 at 5 labels."""
    cells = {
        5 * 2**i: Cell(
            tuple(records([0.7 + slope * i + 1e-4 * t for t in range(n)])), tuple(range(n)), METRICS["accuracy"]
        )
        for i in range(4)
    }
    return LabelCurve.of(cells)


def test_a_clear_gain_is_resolved_and_divided_into_steps(records: Records) -> None:
    built = table(records)
    (one,), steps = row_verdicts(built, "all", curve(records)), built.steps["joint", "all"]
    assert one.gain.against == "FixMatch"
    assert one.gain.claim == "better"
    assert one.cost == 4.5
    differences = [difference for _, difference in steps]
    assert [adds for adds, _ in steps] == ["augmentation", "unlabelled images", "generator"]
    assert [one.mean for one in differences] == pytest.approx([0.05, 0.05, 0.05], abs=0.005)
    first, last = differences[0], differences[-1]
    assert (first.row, first.against, last.row, last.against) == ("classic", "bare", "joint", "FixMatch")
    assert all(one.kind == "headline" for one in differences), "steps may differ in the data used"
    # 0.85 lies half way between 10 and 20 labels per class, on the log scale.
    assert one.label_equivalent is not None
    assert one.label_equivalent.labels == pytest.approx(10 * math.sqrt(2), rel=0.03)
    assert one.label_equivalent.low is not None
    assert one.label_equivalent.high is not None
    assert 13 < one.label_equivalent.low < one.label_equivalent.labels < one.label_equivalent.high < 16


def test_a_loss_is_shown(records: Records) -> None:
    (one,) = row_verdicts(table(records, gain=-0.05), "all", None)
    assert one.gain.claim == "worse"
    assert one.label_equivalent is None


def test_an_unresolved_gain_gives_the_trials_needed(records: Records) -> None:
    (one,) = row_verdicts(table(records, gain=0.004, noise=0.02), "all", None)
    assert one.gain.claim == "not resolved"
    assert one.gain.detectable is not None
    assert one.trials_needed is not None
    differences, n = one.gain.differences, len(one.gain.differences)
    sd = float(np.std(differences, ddof=1))
    assert one.gain.detectable == pytest.approx(minimal_detectable_difference(sd, n))
    seen = abs(one.gain.mean or 0.0)
    assert (
        minimal_detectable_difference(sd, n + one.trials_needed)
        <= seen
        < minimal_detectable_difference(sd, n + one.trials_needed - 1)
    )


def test_no_number_of_trials_resolves_a_small_gain_on_redrawn_test_sets(records: Records) -> None:
    """Trials that redraw the test set overlap, so more of them bring less and less (Nadeau and Bengio)."""
    built = table(records, gain=0.004, noise=0.02, redrawn=True)
    (one,) = row_verdicts(built, "all", None)
    assert one.gain.claim == "not resolved"
    assert one.trials_needed is None
    assert "not resolved: no practical number of trials is enough" in page_of(built, None)


def test_few_trials_are_not_decided(records: Records) -> None:
    found = row_verdicts(table(records, n=3), "all", curve(records, 3))
    assert found[0].gain.claim == "not decided"
    assert found[0].label_equivalent is not None
    assert found[0].label_equivalent.low is None
    page = page_of(table(records, n=3), None, 3)
    assert "is not decided after 3 trials; a verdict needs 10" in page
    assert "not decided at 3 trials |" in page


@pytest.mark.parametrize(("n", "gain", "said"), [(9, 0.05, "not decided at 9 trials"), (10, 0.05, "helps")])
def test_page_summary_and_csv_say_the_same(records: Records, n: int, gain: float, said: str) -> None:
    """A clear gain of nine trials is not called one, anywhere."""
    built = table(records, gain, n=n)
    page = page_of(built, None, n)
    summary = summary_paragraph(built)
    assert f"| {said} |" in page
    assert (" joint helps: +4.8 [" in page) == (said == "helps")
    word = "better" if said == "helps" else said
    assert f"joint is {word}." in summary
    assert built.primary[0].has_interval
    assert table_data(built)[-1]["primary_claim"] == ("better" if said == "helps" else "not decided")


def test_an_interval_without_zero_is_no_claim_after_holm(records: Records) -> None:
    """Four rows against one baseline: the lowest p is multiplied by eight one-sided tests."""
    draw = np.random.default_rng(0)
    base = 0.8 + 0.01 * draw.normal(size=10)
    noise = draw.normal(size=10)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    t = stats.t.isf(0.02, 9)  # two-sided p .04
    lead = base + 0.01 * (noise + t / math.sqrt(10))
    rows = {"base": base, "lead": lead, **{f"row {i}": base + 0.01 * draw.normal(size=10) for i in range(3)}}
    places = {(row, "all"): records(list(values)) for row, values in rows.items()}
    family = Family(tuple(rows)[1:], ("base",))
    built = build_table(places, TableSpec("t", tuple(rows), ("all",), tuple(range(10)), family=family))
    one = built.primary[0]
    assert one.p == pytest.approx(0.04)
    assert one.low is not None
    assert one.low > 0
    assert one.claim == "not resolved"
    alone = build_table(places, TableSpec("t", tuple(rows), ("all",), family=Family(("lead",), ("base",))))
    assert alone.primary[0].claim == "better"


@pytest.mark.parametrize(("score", "labels"), [(0.65, 0.0), (0.7, 5.0), (0.8, 10.0), (1.0, 40.0), (1.1, math.inf)])
def test_label_equivalents_at_the_ends_and_on_the_budgets(records: Records, score: float, labels: float) -> None:
    exact = LabelCurve((5, 10, 20, 40), {0: (0.7, 0.8, 0.9, 1.0)})
    found = label_equivalent(exact, {0: score})
    assert found is not None
    assert found.labels == pytest.approx(labels)


def test_the_interval_of_a_label_equivalent_is_an_inverted_t_test() -> None:
    """Its ends are where scipy's paired t test of the row against each trial's own curve has p = .05."""
    draw = np.random.default_rng(2)
    labels, trials = (5, 10, 20, 40), 12
    common = 0.02 * draw.normal(size=(trials, 1))
    scores = np.array([0.6, 0.7, 0.78, 0.84]) + common + 0.01 * draw.normal(size=(trials, 4))
    own = 0.74 + common[:, 0] + 0.01 * draw.normal(size=trials)
    found = label_equivalent(
        LabelCurve(labels, {t: tuple(row) for t, row in enumerate(scores.tolist())}), dict(enumerate(own))
    )
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert 5 < found.low < found.labels < found.high < 40

    def p_at(number: float) -> float:
        curve = [np.interp(math.log(number), np.log(labels), row) for row in scores]
        return float(stats.ttest_rel(own, curve).pvalue)

    assert [p_at(end) for end in (found.low, found.high)] == pytest.approx([0.05, 0.05], rel=0.02)
    p_values = [p_at(number) for number in np.geomspace(5, 40, 301)]
    inside = [number for number, p in zip(np.geomspace(5, 40, 301), p_values, strict=True) if p >= 0.05]
    assert (min(inside), max(inside)) == pytest.approx((found.low, found.high), rel=0.03)


def test_intervals_of_label_equivalents_cover() -> None:
    """95 % of them contain the true number of labels, with as few as six trials."""
    draw, hits = np.random.default_rng(7), 0
    truth = np.array([0.7, 0.8, 0.9])
    for _ in range(300):  # narrow intervals: a few hundredths of a doubling
        scores = truth + 0.003 * draw.normal(size=(6, 3))
        own = 0.83 + 0.003 * draw.normal(size=6)
        one = label_equivalent(
            LabelCurve((5, 10, 20), {t: tuple(s) for t, s in enumerate(scores.tolist())}), dict(enumerate(own))
        )
        assert one is not None
        assert one.low is not None
        assert one.high is not None
        hits += one.low <= 10 * 2**0.3 <= one.high
    assert stats.binomtest(hits, 300, 0.95).pvalue > 0.001


def test_a_falling_curve_is_made_monotone() -> None:
    found = label_equivalent(LabelCurve((5, 10, 20), {0: (0.7, 0.6, 0.8)}), {0: 0.75})
    assert found is not None
    assert found.labels == pytest.approx(10 * math.sqrt(2))


def test_trials_that_the_curve_lacks_are_left_out(records: Records) -> None:
    assert label_equivalent(LabelCurve((5, 10), {0: (0.7, 0.8)}), {1: 0.75}) is None
    assert LabelCurve.of({}).values == {}


def context(trials: int = 10, each: float | None = 1.2) -> VerdictContext:
    return VerdictContext("digits", 1797, 10, trials, 12.3, "trigan verdict data=digits", each, "rotate 10")


def page_of(built: Table, curve: LabelCurve | None, trials: int = 10) -> str:
    return render_verdict(context(trials), VerdictResult(built, row_verdicts(built, "all", curve), curve))


def test_the_page(records: Records) -> None:
    built = table(records)
    found = row_verdicts(built, "all", curve(records))
    page = page_of(built, curve(records))
    gain = 100 * (found[0].gain.mean or 0.0)
    assert page.startswith(
        "# Verdict: digits, 10 labels per class\n\n"
        f"**On these 1,797 images (500 to test on), joint helps: +{gain:.1f} ["
    )
    assert "over FixMatch, the strongest baseline with the same images." in page
    assert f"| +{gain:.1f} [" in page
    assert "; FixMatch | L + U | 4.5 x |" in page
    assert page.count("| joint | augmentation | classic minus bare |") == 1
    assert "| 5 | 10 | 20 | 40 |" in page
    assert "`trigan verdict data=digits`: 10 trials in 12 minutes. Augmentation of training images" in page
    assert "### t: test accuracy, %" in page
    none = page_of(table(records, gain=-0.05), None)
    assert (
        "**On these 1,797 images (500 to test on), no use of a GAN is shown to help; the strongest classifier is"
        in none
    )
    assert "Shown to be worse than a baseline with the same images: joint." in none
    assert "Label equivalents are not given" in none


def test_the_headline_says_what_more_trials_would_show(records: Records) -> None:
    built = table(records, gain=0.0, noise=0.02)
    said = " ".join(headline_lines(context(), VerdictResult(built, row_verdicts(built, "all", None), None)))
    found = headline(built, "all")
    assert found is not None
    assert found.detectable is not None
    assert found.detectable_later is not None
    sd = float(np.std(built.primary[0].differences, ddof=1))
    assert found.detectable_later == pytest.approx(minimal_detectable_difference(sd, 20))
    now, later = 100 * found.detectable, 100 * found.detectable_later
    assert (
        f"mostly detect differences of {now:.1f} points; 10 more, about 12 minutes, would detect {later:.1f} points"
        in said
    )


def test_equal_differences_are_detected_by_an_image_at_least(records: Records) -> None:
    """Where all trials differ alike, the sd is that of one test image, now and with more trials."""
    found = headline(table(records, gain=0.0, noise=0.0), "all")
    assert found is not None
    assert found.detectable == pytest.approx(minimal_detectable_difference(1 / 500, 10))
    assert found.detectable_later == pytest.approx(minimal_detectable_difference(1 / 500, 20))


def test_a_data_sets_name_is_no_markdown(records: Records) -> None:
    built = table(records)
    own = replace(context(), data="[click](https://x)")
    page = render_verdict(own, VerdictResult(built, row_verdicts(built, "all", None), None))
    assert page.startswith("# Verdict: [click\\](https://x), 10 labels per class\n")


def test_a_ceiling_and_one_image_are_said(records: Records) -> None:
    built = table(records, n=3)
    for cell in built.cells.values():
        for record in cell.records:
            record["result"]["split"]["n_test"] = 10
    said = " ".join(headline_lines(context(3, None), VerdictResult(built, row_verdicts(built, "all", None), None)))
    assert "not decided after 3 trials; a verdict needs 10: 7 more. So far the strongest classifier is joint" in said
    assert "This is a ceiling: the strongest baseline misclassifies 2.0 of 10 test images on average" in said
    assert said.endswith("One test image is 10.0 points.")


def test_runs_without_samples_are_noted_beside_the_verdict(records: Records) -> None:
    built = table(records)
    for record in built.cells["joint", "all"].records[:2]:
        record["result"]["stamps"] = ["no-samples"]
    assert "| helps; in 2 of its runs no sample passed the filters, and only real images were used |" in page_of(
        built, None
    )


@pytest.mark.parametrize(
    ("gain", "text"), [(-0.12, "fewer than any tried"), (0.05, "14"), (-0.035, "7.8"), (0.19, "37"), (0.3, "more than")]
)
def test_label_equivalents_have_two_digits(records: Records, gain: float, text: str) -> None:
    """The curve is .7 at 5 labels and .1 more for each doubling; the row lies at .8 and the gain."""
    built = table(records, gain=gain, noise=0.0, n=3)
    assert f"| {text}" in page_of(built, curve(records, 3), 3)

"""Quality beside gain: rank correlations against scipy's, and the view of a column in every format."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from trigan.records.record import Record
from trigan.tables.generators.quality import MOST, agreements, rank_correlation
from trigan.tables.layout.latex import render_latex
from trigan.tables.layout.text import render_csv, render_html, render_markdown, render_terminal
from trigan.tables.table import Table, TableSpec, build_table

Make = Callable[..., Record]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 5, 6])
def test_over_one_row_it_is_spearmans_with_the_exact_permutation_p(n: int, ties: bool) -> None:
    rng = np.random.default_rng(n)
    for _ in range(5):
        x, y = rng.normal(size=(2, n)).round(0 if ties else 9)
        found = rank_correlation(x[None], y[None])
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert found is None
            continue
        assert found is not None
        rho = stats.spearmanr(x, y).statistic
        every = [stats.spearmanr(x, y[list(order)]).statistic for order in permutations(range(n))]
        assert found.rho == pytest.approx(rho)
        assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(rho) - 1e-9))


def test_within_rows_trials_are_permuted_in_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 5))
    x[3] = 1.0  # a row without an order is left out
    found = rank_correlation(x, y)
    assert found is not None

    def mean(order: Any) -> float:
        return float(np.mean([stats.spearmanr(x[i], y[i][list(order)]).statistic for i in range(3)]))

    every = [mean(order) for order in permutations(range(5))]
    assert found.rho == pytest.approx(mean(range(5)))
    assert found.p == pytest.approx(np.mean(np.abs(every) >= abs(found.rho) - 1e-9))
    assert rank_correlation(x[3:], y[3:]) is None


def test_the_p_is_uniform_without_a_relation_and_small_with_one() -> None:
    """Trials share an effect over rows (split, labels); a test that permuted each row alone would reject too often."""
    rng, p = np.random.default_rng(3), []
    for _ in range(400):
        x, y = rng.normal(size=(2, 1, 6)) + 0.3 * rng.normal(size=(2, 5, 6))
        found = rank_correlation(x, y)
        p.append(1.0 if found is None else found.p)
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.085
    many = np.arange(12.0)[None]
    sure = rank_correlation(many, many**3)
    assert sure is not None
    assert (sure.rho, sure.p) == (pytest.approx(1.0), pytest.approx(1 / MOST))


SIZES = {"a": 0.90, "b": 0.91, "c": 0.92, "d": 0.93}


def made_table(record: Make, quality: bool = True, copying: str = "", stamp: str = "") -> Table:
    """Sources whose FID falls, and precision falls too, as their accuracy rises; a control, and another strategy."""
    places: dict[tuple[str, str], list[Record]] = {
        ("control", "digits"): [record(0.9 + 0.001 * trial, trial) for trial in range(5)]
    }
    for i, (row, accuracy) in enumerate([*SIZES.items(), ("features", 0.5)]):
        strategy = "features" if row == "features" else "augment"
        for trial in range(5):
            figures = dict.fromkeys(("fid", "kid", "precision", "recall", "density", "coverage"), 0.5)
            figures |= {"authenticity": 0.5, "copies": 0.0, "duplicates": 0.0}
            figures |= {"fid": 40.0 - 10 * i - trial, "precision": 0.9 - 0.1 * i, "gan_train": 0.6 + 0.1 * i}
            one = {
                **{"embedding": "random_conv@1", "images": 9 if row == stamp else 629, "fingerprint": "f"},
                **{"figures": figures, "floor": {**figures, "fid": 1.25, "gan_train": 0.97}},
                "copying": row == copying,
            }
            made = record(accuracy + 0.002 * trial, trial, tags={"strategy": strategy}, generator=one)
            places.setdefault((row, "digits"), []).append(made)
    spec = TableSpec("t", (*(row for row, _ in places),), ("digits",), (0, 1, 2, 3, 4), reference="control")
    return replace(build_table(places, spec), quality=quality)


def test_better_figures_with_more_gain_are_positive(record: Make) -> None:
    found = {(one.strategy, one.metric.figure): one for one in agreements(made_table(record), "digits")}
    fid, precision, recall = (found["augment", name] for name in ("fid", "precision", "recall"))
    assert (fid.rows, fid.trials) == (4, 5)
    assert fid.between is not None
    assert fid.within is not None
    assert precision.between is not None
    assert (fid.between.rho, fid.between.p) == (pytest.approx(1.0), pytest.approx(2 / 24))
    assert (precision.between.rho, precision.between.p) == (pytest.approx(-1.0), pytest.approx(2 / 24))
    assert (fid.within.rho, fid.within.p) == (pytest.approx(1.0), pytest.approx(2 / 120))
    assert recall.between is recall.within is None  # all have the same
    other = found["features", "fid"]
    assert (other.rows, other.between) == (1, None)
    assert other.within is not None


def test_copies_and_other_stamps_are_not_counted(record: Make) -> None:
    found = {(one.strategy, one.metric.figure): one for one in agreements(made_table(record, copying="d"), "digits")}
    assert found["augment", "fid"].rows == 3
    assert found["augment", "gan_train"].rows == 3  # copies are as good as real images
    found = {(one.strategy, one.metric.figure): one for one in agreements(made_table(record, stamp="b"), "digits")}
    assert found["augment", "fid"].rows == 3
    page = render_markdown(made_table(record, copying="d", stamp="b"))
    lines = [line for line in page.splitlines() if line.startswith(("| d (copies", "| b |"))]
    assert "| d (copies in 5 of 5) | +3.2 [" in page
    assert any(line.endswith("| - | - | - | - | - |") for line in lines if line.startswith("| b"))


def test_the_view_is_in_every_format_for_a_study_that_asks(record: Make) -> None:
    asked, plain = made_table(record), made_table(record, quality=False)
    page = render_markdown(asked)
    assert "### Gain beside the generator's quality\n\n" in page
    assert "| row | minus control | FID | precision, % | recall, % | coverage, % | CAS, % |" in page
    assert "| real images | - | 1.25 | 90.0 | 50.0 | 50.0 | 97.0 |" in page
    assert "| control | reference | - | - | - | - | - |" in page
    assert "| augment | FID | +1.00 | 0.083 | 4 rows | +1.00 | 0.017 | 4 x 5 |" in page
    for render in (render_terminal, render_html, render_latex):
        assert "Gain beside the generator" in render(asked)
        assert "Rank correlation of figure and gain" in render(asked)
        assert "Gain beside the generator" not in render(plain)
    recall = replace(asked, spec=replace(asked.spec, metric="generator_recall"))
    assert "Gain beside the generator" not in render_markdown(recall)
    header, first, *_ = render_csv(asked).splitlines()
    assert "generator_gan_train" in header
    assert first.startswith("control,")

"""Looking again: the levels of the looks, the file that counts them, and what a table says at each."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import zeta

from trigan.errors import ArtifactError
from trigan.records.record import Record
from trigan.reports.verdict_page import VerdictContext, VerdictResult, render_verdict
from trigan.tables.layout.text import render_markdown
from trigan.tables.looks import LOOKS_FILE, Look, count_look, look_level
from trigan.tables.table import Family, Table, TableSpec, build_table, counted
from trigan.tables.verdict import row_verdicts

MakeAll = Callable[..., list[Record]]


def test_the_levels_of_all_looks_add_up_to_five_percent() -> None:
    """The sum of 1 / k^2 is zeta(2)."""
    assert look_level(1) == pytest.approx(0.05 / zeta(2))
    assert look_level(4) == pytest.approx(0.05 / zeta(2) / 16)
    assert sum(look_level(k) for k in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)


def test_peeking_makes_false_claims_in_five_percent_at_most() -> None:
    """Two equal rows, looked at with 10, 15, 20 and 30 trials, by scipy's t test."""
    draws = np.random.default_rng(0).normal(size=(4_000, 30))
    p = np.stack([stats.ttest_1samp(draws[:, :n], 0.0, axis=1).pvalue for n in (10, 15, 20, 30)])
    levels = np.array([look_level(k) for k in (1, 2, 3, 4)])[:, None]
    assert (p < 0.05).any(0).mean() > 0.09, "without a correction"
    assert (p < levels).any(0).mean() < 0.05


def table(records: MakeAll, n: int, lead: float = 0.0) -> Table:
    draw = np.random.default_rng(5)
    places = {
        ("base", "x"): records(list(0.8 + 0.01 * draw.normal(size=30))[:n]),
        ("gan", "x"): records(list(0.8 + lead + 0.01 * draw.normal(size=30))[:n]),
    }
    spec = TableSpec("t", ("base", "gan"), ("x",), reference="base", family=Family(("gan",), ("base",)))
    return build_table(places, spec)


def test_only_new_trials_are_a_new_look(records: MakeAll, tmp_path: Path) -> None:
    assert counted(table(records, 9), tmp_path).spec.look == Look()
    assert not (tmp_path / LOOKS_FILE).exists(), "nine trials test nothing"
    looks = [counted(table(records, n), tmp_path).spec.look.number for n in (10, 10, 15, 10, 20)]
    assert looks == [1, 1, 2, 1, 3]
    assert (tmp_path / LOOKS_FILE).read_text().count('"look"') == 3


def test_the_second_look_claims_at_its_own_level_and_says_so(records: MakeAll, tmp_path: Path) -> None:
    count_look(tmp_path / LOOKS_FILE, range(10))
    first, second = table(records, 20, 0.01), counted(table(records, 20, 0.01), tmp_path)
    p = first.primary[0].p_holm
    assert p is not None
    assert look_level(2) < p < look_level(1)
    assert (first.primary[0].claim, second.primary[0].claim) == ("better", "not resolved")
    text = render_markdown(second)
    assert "Look 2 at this study's trials" in text
    assert f"at most {look_level(2):.4f}" in text
    assert "Looks at these runs are not counted" in render_markdown(first)
    verdicts = row_verdicts(second, "x", None)
    page = render_verdict(VerdictContext("digits", 1797, 10, 20, 1.0, "c"), VerdictResult(second, verdicts, None))
    assert f"Look 2 at these trials: Holm's p is compared with {look_level(2):.4f}" in page
    assert "Shown to be better" not in page
    assert verdicts[0].trials_needed is not None
    assert verdicts[0].trials_needed > 0


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / LOOKS_FILE).write_text('{"looks": 3}')
    with pytest.raises(ArtifactError, match="not a list of looks"):
        count_look(tmp_path / LOOKS_FILE, range(10))
    assert math.isclose(Look().level, 0.05)

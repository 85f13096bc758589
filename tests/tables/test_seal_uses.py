"""How often test sets were used, and what the best of so many equal settings gains by chance."""

import math
from typing import Any

import numpy as np
import pytest
from record_makers import make_record

from trigan.records.seal_ledger import setting_digest
from trigan.tables.layout.footnotes import footnotes
from trigan.tables.seal_uses import expected_maximum
from trigan.tables.table import Table, TableSpec, build_table


def table(redrawn: bool, trials: int = 3, ledger: Any = None, **spec: Any) -> Table:
    records = {
        (row, "x"): [
            make_record(
                accuracy + 0.01 * (trial - (trials - 1) / 2),
                trial,
                config={"lr": row},
                split={
                    "fingerprint": "f",
                    "test": {"sha256": f"t{trial if redrawn else ''}"},
                    "test_redrawn": redrawn,
                    "n_test": 500,
                },
            )
            for trial in range(trials)
        ]
        for row, accuracy in (("a", 0.9), ("b", 0.8))
    }
    return build_table(records, TableSpec("t", ("a", "b"), ("x",), **spec), ledger=ledger or {})


def test_the_expected_maximum_of_normal_variables() -> None:
    """Against the known values (Harter 1961), and a simulation."""
    known = {1: 0.0, 2: 1 / math.sqrt(math.pi), 5: 1.16296, 10: 1.53875, 20: 1.86748, 100: 2.50759}
    for m, value in known.items():
        assert expected_maximum(m) == pytest.approx(value, abs=2e-5)
    drawn = np.random.default_rng(0).standard_normal((200_000, 7)).max(1).mean()
    assert expected_maximum(7) == pytest.approx(drawn, abs=0.01)


def test_settings_of_the_table_and_of_the_ledger_count() -> None:
    assert [(use.trials, use.settings, use.test_sets) for use in table(False).seal_uses] == [((0, 1, 2), 2, 1)]
    others = frozenset({setting_digest({"lr": "a"}), *map(str, range(18))})  # one of them is in the table
    uses = table(True, ledger={("f", "t1"): others, ("other", "t0"): frozenset("z")}).seal_uses
    assert [(use.trials, use.settings, use.test_sets) for use in uses] == [((0, 2), 2, 2), ((1,), 20, 1)]


def test_the_gain_by_chance() -> None:
    sampling, spread = 0.9 * 0.1 / 500, 0.01**2
    ledger = {("f", "t"): frozenset(map(str, range(18)))}
    (use,) = table(False, ledger=ledger).seal_uses
    assert use.gain == pytest.approx(1.86748 * math.sqrt(sampling + spread), rel=1e-4)
    assert use.mean_gain == pytest.approx(1.86748 * math.sqrt(sampling + spread / 3), rel=1e-4)
    use = table(True).seal_uses[0]
    assert use.gain == pytest.approx(math.sqrt(max(sampling, spread) / math.pi), rel=1e-4)
    assert use.mean_gain == pytest.approx(math.sqrt(max(sampling, spread) / math.pi / 3), rel=1e-4)
    (use,) = table(False, metric="macro_f1").seal_uses
    assert (use.settings, use.gain) == (2, None), "no binomial score"


def test_equal_settings_on_one_test_set_gain_what_is_said() -> None:
    """Simulated: 20 settings of accuracy 0.9, scored on 500 images once."""
    best = np.random.default_rng(1).binomial(500, 0.9, (20_000, 20)).max(1).mean() / 500 - 0.9
    (use,) = table(False, trials=1, ledger={("f", "t"): frozenset(map(str, range(18)))}).seal_uses
    assert use.gain == pytest.approx(best, abs=0.002)


def test_what_is_printed() -> None:
    text = "\n".join(footnotes(table(False, trials=1, ledger={("f", "t"): frozenset(map(str, range(18)))}), "*"))
    said = "The test set of trial 0 has been scored for 20 settings; the best of 20 equal settings gains 2.5 points"
    assert f"{said} by chance alone.\n" in text
    text = "\n".join(footnotes(table(True), "*"))
    assert (
        "The test sets of trials 0, 1, 2 have each been scored for 2 settings; the best of 2 equal settings gains 0.8 "
        "points by chance alone, and 0.4 in the mean of the trials." in text
    )

"""A table as numbers agrees with the rendered one."""

from collections.abc import Callable

import pandas as pd

from trigan.records.record import Record
from trigan.tables.table import Family, TableSpec, build_table, complete_means, table_data

MakeAll = Callable[..., list[Record]]


def test_one_row_per_cell(records: MakeAll) -> None:
    scores = [0.8, 0.9, 0.85, 0.86, 0.84]
    places = {
        ("bare", "digits"): records(scores),
        ("better", "digits"): records([score + 0.01 for score in scores]),
        ("joint", "digits"): records(scores, data_used={"U": 900}),
        ("short", "digits"): records(scores[:2]),
    }
    rows = (*(row for row, _ in places), "never run")
    spec = TableSpec("Small", rows, ("digits",), reference="bare", family=Family(("better",), ("bare",)))
    table = build_table(places, spec)
    found = table_data(table)
    assert all(list(row) == list(found[0]) for row in found)
    named = {row["row"]: row for row in found}
    assert list(named) == ["bare", "better", "joint", "short"]
    better, summary = named["better"], table.cells["better", "digits"].summary
    assert summary is not None
    assert (better["mean"], better["sd"], better["n"], better["best"]) == (summary.mean, summary.sd, 5, True)
    one = table.differences["better", "digits"]
    assert [better[f"difference_{key}"] for key in ("mean", "low", "high")] == [one.mean, one.low, one.high]
    assert (better["difference_against"], better["difference_kind"], better["primary_against"]) == (
        "bare",
        "exploratory",
        "bare",
    )
    assert better["trial 1"] == 0.91
    joint = named["joint"]
    assert (joint["U"], joint["difference_kind"], joint["difference_mean"]) == (900, "different_data", None)
    assert joint["difference_reason"] == "not comparable; also uses unlabelled images"
    assert (named["short"]["n"], named["short"]["expected"], named["short"]["trial 4"]) == (2, 5, None)
    assert named["bare"]["flops"] == 1.5e12
    assert complete_means(table) == {f"digits/{row}": named[row]["mean"] for row in ("bare", "better", "joint")}


def test_the_rows_make_a_data_frame_of_numbers(records: MakeAll) -> None:
    places = {("bare", "digits"): records([0.8, 0.9]), ("joint", "digits"): records([0.8, 0.9], data_used={"U": 900})}
    table = build_table(places, TableSpec("Small", ("bare", "joint"), ("digits",)))
    frame = pd.DataFrame(table_data(table))
    assert frame["trial 1"].tolist() == [0.9, 0.9]
    assert frame.select_dtypes("number").columns.isin(["mean", "sd", "n", "U", "flops", "trial 0"]).sum() == 6

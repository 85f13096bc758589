"""A table as numbers says what the rendered one says."""

from collections.abc import Callable

from trigan.records.record import Record
from trigan.tables.table import Family, TableSpec, build_table
from trigan.tables.table_data import COLUMNS, complete_means, table_data

MakeAll = Callable[..., list[Record]]


def test_a_row_a_cell(records: MakeAll) -> None:
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
    columns, found = table_data(table)
    assert columns == (*COLUMNS, *(f"trial {trial}" for trial in range(5)))
    assert all(len(row) == len(columns) for row in found)
    named = {row[0]: dict(zip(columns, row, strict=True)) for row in found}
    assert set(named) == {"bare", "better", "joint", "short"}
    better, summary = named["better"], table.cells["better", "digits"].summary
    assert summary is not None
    assert (better["mean"], better["sd"], better["n"], better["best"]) == (summary.mean, summary.sd, 5, True)
    one = table.differences["better", "digits"]
    assert (better["difference"], better["difference low"], better["difference high"]) == (one.mean, one.low, one.high)
    assert (better["minus"], better["kind"], better["primary against"]) == ("bare", "exploratory", "bare")
    assert better["trial 1"] == 0.91
    assert (named["joint"]["U"], named["joint"]["kind"], named["joint"]["difference"]) == (
        900,
        "not comparable; also uses unlabelled images",
        None,
    )
    assert (named["short"]["n"], named["short"]["expected"], named["short"]["trial 4"]) == (2, 5, None)
    assert named["bare"]["cost (FLOP)"] == 1.5e12
    assert complete_means(table) == {f"digits/{row}": named[row]["mean"] for row in ("bare", "better", "joint")}

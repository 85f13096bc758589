"""A table as numbers, one row a cell: for CSV, W&B, or ``pandas.DataFrame(table_data(table))``."""

from trigan.tables.cell import DATA_KEYS
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.table import CellKey, Table

Value = str | float | int | bool | None
_COMPARISON = ("against", "kind", "mean", "low", "high", "p", "p_sign_flip", "p_holm", "reason")


def table_data(table: Table) -> list[dict[str, Value]]:
    """A dictionary for each cell with a record, all with the same keys; trials each have a key at the end.

    Scores are unrounded fractions, counts the largest of the trials. ``low`` and ``high`` are the smallest and largest
    value of a cell's trials; for a difference the ends of its range (n = 3) or of its 95 % interval, see its ``kind``.
    """
    trials = sorted({trial for cell in table.cells.values() for trial in cell.values})
    return [
        cell_data(table, key) | {f"trial {trial}": cell.values.get(trial) for trial in trials}
        for key, cell in table.cells.items()
        if cell.records
    ]


def cell_data(table: Table, key: CellKey) -> dict[str, Value]:
    """The numbers of one cell, without those of its trials."""
    cell = table.cells[key]
    summary = cell.summary
    primary = next((one for one in table.primary if (one.row, one.column) == key), None)
    return {
        "row": key[0],
        "column": key[1],
        "metric": table.spec.metric,
        **{name: getattr(summary, name, None) for name in ("mean", "sd", "low", "high")},
        "n": cell.n,
        "expected": len(cell.expected),
        "diverged": cell.diverged,
        "incomplete": cell.incomplete,
        "best": key in table.best,
        "not_worse": key in table.not_worse,
        **_comparison("difference", table.differences.get(key)),
        **_comparison("primary", primary),
        **{name: max(cell.data_used[name]) if cell.records else None for name in DATA_KEYS},
        "rule": " ".join(cell.rules),
        "flops": cell.flops if cell.records else None,
    }


def complete_means(table: Table) -> dict[str, float]:
    """``column/row`` -> mean, for the cells that have every trial."""
    return {
        f"{column}/{row}": cell.summary.mean
        for (row, column), cell in table.cells.items()
        if cell.summary is not None and not cell.incomplete
    }


def _comparison(name: str, one: PairedComparison | None) -> dict[str, Value]:
    return {f"{name}_{key}": getattr(one, key, None) for key in _COMPARISON}

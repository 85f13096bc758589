"""A table as numbers, one row a cell: for programs that draw or sort it, where the renderers have text."""

from trigan.records.record import DATA_KINDS
from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.table import Table

#: What a cell of the grid may hold.
Value = str | float | int | bool | None

#: Scores are fractions, as in records. ``low`` and ``high``: the least and the most of the trials; of a difference, the
#: ends of its range (n = 3) or of its 95 % interval, as ``kind`` says.
COLUMNS = (
    *("row", "column", "metric", "n", "expected", "mean", "sd", "low", "high", "diverged", "best", "not worse"),
    *("minus", "difference", "difference low", "difference high", "kind", "p"),
    *("primary against", "primary difference", "primary low", "primary high", "primary p (Holm)"),
    *DATA_KINDS,
    *("training labels", "selection labels", "rule", "cost (FLOP)"),
)


def table_data(table: Table) -> tuple[tuple[str, ...], list[tuple[Value, ...]]]:
    """The names of the columns, and a row for each cell with a record; trials each have a column at the end."""
    trials = sorted({trial for cell in table.cells.values() for trial in cell.values})
    primary = {(one.row, one.column): one for one in table.primary}
    rows = []
    for place, cell in table.cells.items():
        if not cell.records:
            continue
        summary = cell.summary
        scores = (summary.mean, summary.sd, summary.low, summary.high) if summary is not None else (None,) * 4
        marks = (cell.diverged, place in table.best, place in table.not_worse)
        head = (*place, table.spec.metric, cell.n, len(cell.expected), *scores, *marks)
        rows.append(
            (
                *head,
                *_difference(table.differences.get(place)),
                *_primary(primary.get(place)),
                *_sight(cell),
                *(cell.values.get(trial) for trial in trials),
            )
        )
    return (*COLUMNS, *(f"trial {trial}" for trial in trials)), rows


def complete_means(table: Table) -> dict[str, float]:
    """``column/row`` -> mean, for the cells that have every trial."""
    cells = table.cells.items()
    means = {place: cell.summary.mean for place, cell in cells if cell.summary is not None and not cell.incomplete}
    return {f"{column}/{row}": mean for (row, column), mean in means.items()}


def _difference(one: PairedComparison | None) -> tuple[Value, ...]:
    return (None,) * 6 if one is None else (one.against, one.mean, one.low, one.high, one.reason or one.kind, one.p)


def _primary(one: PairedComparison | None) -> tuple[Value, ...]:
    return (None,) * 5 if one is None else (one.against or None, one.mean, one.low, one.high, one.p_holm)


def _sight(cell: Cell) -> tuple[Value, ...]:
    """The most of each over the trials."""
    training, selection = (most for _, most in cell.labels)
    return (*(cell.data_used[key][1] for key in DATA_KINDS), training, selection, "/".join(cell.rules), cell.flops)

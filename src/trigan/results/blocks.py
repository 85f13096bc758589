"""A table laid out as grids of text, which the renderers print and nothing else."""

from dataclasses import dataclass

from trigan.results.record import SEES
from trigan.results.table import Table
from trigan.results.wording import Wording, count, flops, p_value, players


@dataclass(frozen=True)
class Block:
    """A grid: ``rows`` of as many texts as ``header`` has.

    ``bold`` are (row, column) indices; ``groups`` are the slices of columns that belong together beside the first, so
    that a narrow page may print them one after another; texts in ``tight`` columns are broken at semicolons at most.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    groups: tuple[tuple[int, int], ...] = ()
    tight: frozenset[int] = frozenset()


def blocks(table: Table, wording: Wording) -> list[Block]:
    """Results of all columns; then for each column the primary comparisons, sight and cost, and every trial."""
    found = [_results(table, wording)]
    for column in table.spec.columns:
        where = f" on {column}" if len(table.spec.columns) > 1 else ""
        found += _primary(table, wording, column, where)
        found += _sight(table, column, where)
        found += _trials(table, wording, column, where)
    return found


def _results(table: Table, wording: Wording) -> Block:
    spec, differences = table.spec, bool(table.differences)
    width = 2 if differences else 1
    unit = ", %" if table.metric.percent else ""
    header = ["row"]
    for column in spec.columns:
        expected = max(len(table.cells[row, column].expected) for row in spec.rows)
        header.append(f"{column} (n = {expected})")
        if differences:
            header.append(f"minus {spec.reference}")
    rows, bold = [], set()
    for index, row in enumerate(spec.rows):
        texts = [row]
        for column in spec.columns:
            if (row, column) in table.best:
                bold.add((index, len(texts)))
            texts.append(wording.cell(table.cells[row, column], dagger=(row, column) in table.not_worse))
            if differences:
                texts.append(wording.difference(table.differences[row, column]))
        rows.append(tuple(texts))
    groups = tuple((1 + i * width, 1 + (i + 1) * width) for i in range(len(spec.columns)))
    title = f"{spec.title}: test {table.metric.label}{unit}"
    tight = frozenset(range(1, len(header)))
    return Block(title, tuple(header), tuple(rows), frozenset(bold), groups, tight)


def _primary(table: Table, wording: Wording, column: str, where: str) -> list[Block]:
    """The declared comparisons; the columns of p stay away while no comparison has one."""
    chosen = [one for one in table.primary if one.column == column]
    if not chosen:
        return []
    with_p = any(one.p is not None for one in chosen)
    rows = []
    for one in chosen:
        n = str(len(one.differences)) if one.differences else "-"
        p_values = [p_value(p) for p in (one.p, one.p_sign_flip, one.p_holm)] if with_p else []
        rows.append((one.row, one.against or "-", wording.difference(one, with_p=False), n, *p_values))
    names = ("p (t)", "p (flip)", "p (t, Holm)") if with_p else ()
    header = ("row", "strongest baseline", "difference", "n", *names)
    groups = ((1, 4), (4, 7)) if with_p else ()
    return [Block(f"Primary comparisons{where}", header, tuple(rows), groups=groups, tight=frozenset(range(2, 7)))]


def _sight(table: Table, column: str, where: str) -> list[Block]:
    rows = []
    for row in table.spec.rows:
        cell = table.cells[row, column]
        if cell.records:
            training, selection = (count(extent) for extent in cell.labels)
            seen = [count(cell.seen[key]) for key in SEES]
            cost = (flops(cell.flops), players(cell.images))
            rows.append((row, *seen, f"{training} + {selection}", "/".join(cell.rules), *cost))
    header = ("row", *SEES, "train + select", "rule", "cost a run", "images a run")
    title = f"What each row saw{where}, and its cost"
    return [Block(title, header, tuple(rows), groups=((1, 7), (7, 9)), tight=frozenset({5, 7}))] if rows else []


def _trials(table: Table, wording: Wording, column: str, where: str) -> list[Block]:
    cells = {row: cell for row in table.spec.rows if (cell := table.cells[row, column]).records}
    numbers = sorted({trial for cell in cells.values() for trial in cell.expected})
    if not numbers:
        return []
    rows = [(row, *(wording.value(c.values[t]) if t in c.values else "-" for t in numbers)) for row, c in cells.items()]
    header = ("row", *(f"trial {t}" for t in numbers))
    # Many trials would not fit a page beside long names, so their values share one column.
    if len(numbers) > 4:
        rows = [(row[0], " ".join(row[1:])) for row in rows]
        header = ("row", f"trials {' '.join(map(str, numbers))}")
    return [Block(f"Every trial{where}", header, tuple(rows))]

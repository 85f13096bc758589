"""A table laid out as grids of text, which the renderers print and nothing else."""

from dataclasses import dataclass

from trigan.records.record import DATA_KINDS
from trigan.tables.layout.formatting import (
    TextFormat,
    format_flops,
    format_images,
    format_p,
    format_players,
    format_published,
    format_range,
)
from trigan.tables.table import Table


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


def blocks(table: Table, fmt: TextFormat) -> list[Block]:
    """Results of all columns; for each column the primary comparisons, attributions, curves, sight and cost, and every
    trial; other figures.

    A column of results has one of published figures beside it where there are any from the same conditions; those from
    other conditions make the last block.
    """
    found = [_results(table, fmt)]
    for column in table.spec.columns:
        where = f" on {column}" if len(table.spec.columns) > 1 else ""
        found += _primary(table, fmt, column, where)
        found += attribution(table, fmt, column, where)
        found += _curves(table, fmt, column, where)
        found += _sight(table, column, where)
        found += _trials(table, fmt, column, where)
    return found + _elsewhere(table)


def _results(table: Table, fmt: TextFormat) -> Block:
    spec = table.spec
    parts = [_column(table, fmt, column) for column in spec.columns]
    unit = ", %" if table.metric.percent else ""
    header = ("row", *(name for part in parts for name in part.header))
    rows = tuple((row, *(text for part in parts for text in part.rows[i])) for i, row in enumerate(spec.rows))
    bold, groups, first = set(), [], 1
    for column, part in zip(spec.columns, parts, strict=True):
        bold |= {(i, first) for i, row in enumerate(spec.rows) if (row, column) in table.best}
        groups += [(first + start, first + stop) for start, stop in part.groups]
        first += len(part.header)
    title = f"{spec.title}: test {table.metric.label}{unit}"
    return Block(title, header, rows, frozenset(bold), tuple(groups), tight=frozenset(range(1, len(header))))


def _column(table: Table, fmt: TextFormat, column: str) -> Block:
    """The cells of one column, the figures published for them if any, and the differences to the reference if any."""
    spec = table.spec
    expected = max(len(table.cells[row, column].expected) for row in spec.rows)
    header = [f"{column} (n = {expected})"]
    marked = [(row, (row, column) in table.not_worse) for row in spec.rows]
    texts = [[fmt.cell(table.cells[row, column], dagger=dagger) for row, dagger in marked]]
    figures = ["; ".join(map(format_published, table.published_at((row, column)))) or "-" for row in spec.rows]
    beside = any(figure != "-" for figure in figures)
    if beside:
        header.append("published")
        texts.append(figures)
    groups = [(0, len(header))]
    if table.differences:
        # on a narrow page the differences may stand apart from their cells, and then have to say of which they are
        apart = beside and len(spec.columns) > 1
        header.append(f"{column} minus {spec.reference}" if apart else f"minus {spec.reference}")
        texts.append([fmt.difference(table.differences[row, column]) for row in spec.rows])
        groups = [*groups, (len(header) - 1, len(header))] if beside else [(0, len(header))]
    return Block("", tuple(header), tuple(zip(*texts, strict=True)), groups=tuple(groups))


def _elsewhere(table: Table) -> list[Block]:
    """The published figures that stand beside no cell, and what sets them apart."""
    places = ("row", "column") if len(table.spec.columns) > 1 else ("row",)
    rows = []
    for one in (one for one in table.published if one.differs):
        names = tuple(getattr(one.published, place) or "-" for place in places)
        rows.append((*names, format_published(one.published), one.differs, one.published.note or "-"))
    header = (*places, "published", "what differs", "note")
    last = len(header) - 1
    tight = frozenset({last - 2, last - 1})
    groups = ((1, last - 1), (last - 1, last), (last, last + 1))
    return [Block("Published, other conditions", header, tuple(rows), groups=groups, tight=tight)] if rows else []


def _primary(table: Table, fmt: TextFormat, column: str, where: str) -> list[Block]:
    """The declared comparisons; the columns of p stay away while no comparison has one."""
    chosen = [one for one in table.primary if one.column == column]
    if not chosen:
        return []
    with_p = any(one.p is not None for one in chosen)
    rows = []
    for one in chosen:
        n = str(len(one.differences)) if one.differences else "-"
        p_values = [format_p(p) for p in (one.p, one.p_sign_flip, one.p_holm)] if with_p else []
        rows.append((one.row, one.against or "-", fmt.difference(one, with_p=False), n, *p_values))
    names = ("p (t)", "p (flip)", "p (t, Holm)") if with_p else ()
    header = ("row", "strongest baseline", "difference", "n", *names)
    groups = ((1, 4), (4, 7)) if with_p else ()
    return [Block(f"Primary comparisons{where}", header, tuple(rows), groups=groups, tight=frozenset(range(2, 7)))]


def attribution(table: Table, fmt: TextFormat, column: str, where: str) -> list[Block]:
    """Each chain, step by step, whatever its rows saw: that is what a step may add."""
    rows = [
        (row, step.adds, f"{one.row} minus {one.against}", fmt.difference(one, with_p=False))
        for row in table.spec.ablations
        for step in table.steps[row, column]
        for one in (step.difference,)
    ]
    header = ("row", "what is added", "comparison", "difference")
    groups = ((1, 2), (2, 4))
    title = f"Where a gain comes from{where}"
    return [Block(title, header, tuple(rows), groups=groups, tight=frozenset({3}))] if rows else []


def _curves(table: Table, fmt: TextFormat, column: str, where: str) -> list[Block]:
    """Test error along C's last fit; for accuracy alone, which is all that snapshots are asked for."""
    rows = []
    for row in table.spec.rows if table.spec.metric == "accuracy" else ():
        points = table.cells[row, column].curve
        if points:
            text = "; ".join(f"{format_images(seen)}: {fmt.spread(errors)}" for seen, errors in points.items())
            rows.append((row, text))
    title = f"Test error in % by images seen{where}"
    return [Block(title, ("row", "images of C's last fit: error"), tuple(rows), tight=frozenset({1}))] if rows else []


def _sight(table: Table, column: str, where: str) -> list[Block]:
    rows = []
    for row in table.spec.rows:
        cell = table.cells[row, column]
        if cell.records:
            training, selection = (format_range(extent) for extent in cell.labels)
            seen = [format_range(cell.data_used[key]) for key in DATA_KINDS]
            cost = (format_flops(cell.flops), format_players(cell.images))
            rows.append((row, *seen, f"{training} + {selection}", "/".join(cell.rules), *cost))
    header = ("row", *DATA_KINDS, "train + select", "rule", "cost per run", "images per run")
    title = f"Data used by each row{where}, and its cost"
    return [Block(title, header, tuple(rows), groups=((1, 7), (7, 9)), tight=frozenset({5, 7}))] if rows else []


def _trials(table: Table, fmt: TextFormat, column: str, where: str) -> list[Block]:
    cells = {row: cell for row in table.spec.rows if (cell := table.cells[row, column]).records}
    numbers = sorted({trial for cell in cells.values() for trial in cell.expected})
    if not numbers:
        return []
    rows = [(row, *(fmt.value(c.values[t]) if t in c.values else "-" for t in numbers)) for row, c in cells.items()]
    header = ("row", *(f"trial {t}" for t in numbers))
    # Many trials would not fit a page beside long names, so their values share one column.
    if len(numbers) > 4:
        rows = [(row[0], " ".join(row[1:])) for row in rows]
        header = ("row", f"trials {' '.join(map(str, numbers))}")
    return [Block(f"Every trial{where}", header, tuple(rows))]

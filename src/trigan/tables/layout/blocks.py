"""A table laid out as grids of text, which the renderers print, and the widths of their columns."""

from collections.abc import Iterator, Mapping

from trigan.records.record import DATA_KINDS
from trigan.scores import GENERATOR_METRICS
from trigan.tables.cell import Cell
from trigan.tables.classifier_differences import table_differences, undeclared
from trigan.tables.layout.block import Block
from trigan.tables.layout.formatting import (
    TextFormat,
    format_curve_images,
    format_flops,
    format_images,
    format_p,
    format_players,
    format_published,
    format_range,
)
from trigan.tables.layout.quality_blocks import quality
from trigan.tables.table import Table

#: Characters between two columns of a grid.
GAP = 2
#: Mark at a number whose row differs in C's training in a way that the study does not declare.
UNDECLARED = "(!)"


def blocks(table: Table) -> list[Block]:
    """The grids of a table.

    Results of all columns; for each column the primary comparisons, attributions, generators, quality beside gain,
    curves, data and cost, every trial, and differences in C's training that the study does not declare; then published
    results under other conditions. Those under the conditions of a cell are beside it.
    """
    fmt = TextFormat(table.metric)
    found = [_results(table, fmt)]
    for column in table.spec.columns:
        where = f" on {column}" if len(table.spec.columns) > 1 else ""
        found += [
            _primary(table, fmt, column, where),
            attribution(table, column, where),
            _generators(table, column, where),
            *quality(table, column, where),
            _curves(table, fmt, column, where),
            _data_used(table, column, where),
            _trials(table, column, where),
            _undeclared(table, column, where),
        ]
    return [block for block in (*found, _elsewhere(table)) if block.rows]


def brief(table: Table) -> Block:
    """The table for one screen: every row's score and, in a table of one column with a family, what it gains."""
    fmt, spec = TextFormat(table.metric), table.spec
    columns = {"row": list(spec.rows)}
    for column in spec.columns:
        trials = max(len(table.cells[row, column].expected) for row in spec.rows)
        columns[f"{column} (n = {trials})"] = [fmt.cell(table.cells[row, column]) for row in spec.rows]
    if len(spec.columns) == 1 and spec.family is not None:
        claims = {one.row: one.claim for one in table.primary}
        columns["minus the strongest baseline"] = [over_strongest(table, row, spec.columns[0]) for row in spec.rows]
        if any(claim != "not decided" for claim in claims.values()):
            columns["shown"] = [claims.get(row, "-") for row in spec.rows]
    bold = frozenset((spec.rows.index(row), 1 + spec.columns.index(column)) for row, column in table.best)
    title = f"{spec.title}: {table.metric.heading}"
    return Block(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), bold)


def over_strongest(table: Table, row: str, column: str) -> str:
    """A row's difference to the strongest baseline of equal L, U, V and X, and its name; ``-`` for that baseline."""
    one, fmt = table.against_strongest(row, column), TextFormat(table.metric)
    if one.mean is not None:
        return f"{fmt.difference(one, with_p=False)}; {one.against}"
    return "-" if table.spec.family is not None and row in table.spec.family.baselines else one.reason


def _results(table: Table, fmt: TextFormat) -> Block:
    spec = table.spec
    header, columns, bold, groups = ["row"], [list(spec.rows)], set(), []
    for column in spec.columns:
        bold |= {(i, len(header)) for i, row in enumerate(spec.rows) if (row, column) in table.best}
        for group in _column(table, fmt, column):
            groups.append((len(header), len(header) + len(group)))
            header += group.keys()
            columns += group.values()
    title = f"{spec.title}: {table.metric.heading}"
    rows, tight = tuple(zip(*columns, strict=True)), frozenset(range(1, len(header)))
    return Block(title, tuple(header), rows, frozenset(bold), tuple(groups), tight)


def _column(table: Table, fmt: TextFormat, column: str) -> list[dict[str, list[str]]]:
    """The cells of one column, the results published for them if any, and the differences to the reference if any.

    Texts by name, in one or two groups, which a narrow page prints one after the other.
    """
    spec = table.spec
    expected = max(len(table.cells[row, column].expected) for row in spec.rows)
    marked = {one.row for one in undeclared(table_differences(table, column))}
    cells = [
        fmt.cell(table.cells[row, column], (row, column) in table.not_worse) + f" {UNDECLARED}" * (row in marked)
        for row in spec.rows
    ]
    groups = [{f"{column} (n = {expected})": cells}]
    published = ["; ".join(map(format_published, table.published_at((row, column)))) or "-" for row in spec.rows]
    beside = any(text != "-" for text in published)
    if beside:
        groups = [groups[0] | {"published": published}, {}]
    if table.differences:
        # Apart from their cells, differences need the name of their column.
        name = f"{column} minus" if beside and len(spec.columns) > 1 else "minus"
        groups[-1][f"{name} {spec.reference}"] = [fmt.difference(table.differences[row, column]) for row in spec.rows]
    return [group for group in groups if group]


def _elsewhere(table: Table) -> Block:
    """The published results that are beside no cell, and how their conditions differ."""
    places = ("row", "column") if len(table.spec.columns) > 1 else ("row",)
    rows = tuple(
        (
            *(getattr(one, place) or "-" for place in places),
            format_published(one),
            one.differs,
            one.note or "-",
        )
        for one in table.published
        if one.differs
    )
    header = (*places, "published", "what differs", "note")
    last = len(header) - 1
    groups = ((1, last - 1), (last - 1, last), (last, last + 1))
    return Block("Published, other conditions", header, rows, groups=groups, tight=frozenset({last - 2, last - 1}))


def _primary(table: Table, fmt: TextFormat, column: str, where: str) -> Block:
    """The declared comparisons; with p values if any has one."""
    chosen = [one for one in table.primary if one.column == column]
    with_p = any(one.p is not None for one in chosen)
    rows = []
    for one in chosen:
        n = str(len(one.differences)) if one.differences else "-"
        p_values = [format_p(p) for p in (one.p, one.p_sign_flip, one.p_holm)] if with_p else []
        limit = "-" if one.detectable is None else fmt.value(one.detectable)
        rows.append((one.row, one.against or "-", fmt.difference(one, with_p=False), n, limit, *p_values))
    names = ("p (t)", "p (flip)", "p (t, Holm)") if with_p else ()
    header = ("row", "strongest baseline", "difference", "n", "detectable", *names)
    groups = ((1, 5), (5, 8)) if with_p else ()
    return Block(f"Primary comparisons{where}", header, tuple(rows), groups=groups, tight=frozenset(range(2, 8)))


def attribution(table: Table, column: str, where: str = "") -> Block:
    """Each ablation, step by step, whatever data its rows used."""
    rows = tuple(
        (row, adds, f"{one.row} minus {one.against}", TextFormat(table.metric).difference(one, with_p=False))
        for row in table.spec.ablations
        for adds, one in table.steps[row, column]
    )
    header = ("row", "what is added", "comparison", "difference")
    return Block(f"Where a gain comes from{where}", header, rows, groups=((1, 2), (2, 4)), tight=frozenset({3}))


def _generators(table: Table, column: str, where: str) -> Block:
    """Means over trials of the generators' figures; rows whose stamps differ from the first one's are left out."""
    rows, stamp = [], None
    for row in table.spec.rows:
        found = table.cells[row, column].generators
        if found is None or stamp not in (None, found.stamp):
            continue
        if stamp is None:
            stamp = found.stamp
            rows.append(("real images", *_figures(found.floor)))
        copying = f" (copies in {found.copying} of {found.n})" if found.copying else ""
        rows.append((row + copying, *_figures(found.figures)))
    header = (
        "row",
        *(one.figure.upper() if one.unit == one.figure.upper() else one.figure for one in GENERATOR_METRICS.values()),
    )
    about = f" ({stamp[0]}, {stamp[1]} images)" if stamp else ""
    return Block(
        f"Generators against training images{where}{about}",
        header,
        tuple(rows),
        groups=((1, 7), (7, 10)),
        tight=frozenset(range(1, 10)),
    )


def _figures(values: Mapping[str, float | None]) -> tuple[str, ...]:
    """Figures in words; ``copies`` in the place of one that copies of training images improve."""
    known = (values[one.figure] for one in GENERATOR_METRICS.values())
    return tuple("copies" if value is None else f"{value:.3g}" for value in known)


def _curves(table: Table, fmt: TextFormat, column: str, where: str) -> Block:
    """Error during C's last fit; only for accuracy, which is what snapshots are scored by."""
    rows, kinds = [], set[str]()
    for row in table.spec.rows if table.spec.metric == "accuracy" else ():
        kinds |= table.cells[row, column].curve_images
        points = table.cells[row, column].curve.items()
        if points:
            rows.append((row, "; ".join(f"{format_images(seen)}: {fmt.spread(errors)}" for seen, errors in points)))
    header = ("row", "images of C's last fit: error")
    return Block(f"{format_curve_images(kinds)} in % by images seen{where}", header, tuple(rows), tight=frozenset({1}))


def _data_used(table: Table, column: str, where: str) -> Block:
    rows = []
    for row in table.spec.rows:
        cell = table.cells[row, column]
        if cell.records:
            *counts, training, selection = map(format_range, cell.data_used.values())
            cost = (format_flops(cell.flops), format_players(cell.images))
            rows.append((row, *counts, f"{training} + {selection}", "/".join(cell.rules), *cost))
    header = ("row", *DATA_KINDS, "train + select", "rule", "cost per run", "images per run")
    title = f"Data used by each row{where}, and its cost"
    return Block(title, header, tuple(rows), groups=((1, 7), (7, 9)), tight=frozenset({5, 7}))


def _trials(table: Table, column: str, where: str) -> Block:
    cells = {row: cell for row in table.spec.rows if (cell := table.cells[row, column]).records}
    numbers = sorted({trial for cell in cells.values() for trial in cell.expected})
    texts = {row: [trial_text(table, cell, trial) for trial in numbers] for row, cell in cells.items()}
    # Many trials do not fit a page beside long names, so their values share one column.
    if len(numbers) > 4:
        header = ["row", f"trials {' '.join(map(str, numbers))}"]
        texts = {row: [(", " if table.sampling else " ").join(values)] for row, values in texts.items()}
    else:
        header = ["row", *(f"trial {t}" for t in numbers)]
    return Block(f"Every trial{where}", tuple(header), tuple((row, *values) for row, values in texts.items()))


def trial_text(table: Table, cell: Cell, trial: int) -> str:
    """The score of a trial, with the sampling error of its test set if that is to be shown and the trial is one run."""
    if trial not in cell.values:
        return "-"
    fmt, runs = TextFormat(table.metric), cell.by_trial[trial]
    one = table.sampling.get(runs[0]["run"]) if len(runs) == 1 else None
    return fmt.value(cell.values[trial]) + (f" [{fmt.value(one.low)}, {fmt.value(one.high)}]" if one else "")


def _undeclared(table: Table, column: str, where: str) -> Block:
    """What touches C, differs from a row that it is compared with, and is not declared by the study."""
    found = undeclared(table_differences(table, column))
    rows = tuple((f"{UNDECLARED} {one.row}", one.against, one.setting, one.value, one.other) for one in found)
    header = ("row", "compared with", "setting or count", "here", "there")
    return Block(f"Differences in C's training that the study does not declare{where}", header, rows)


def split_to_width(block: Block, width: int) -> Iterator[Block]:
    """The block, or if even its narrowest form is too wide, its groups of columns one after another."""
    narrowest = [_narrowest(block, column) + GAP for column in range(len(block.header))]
    if len(block.groups) < 2 or sum(narrowest) <= width:
        yield block
        return
    parts: list[list[int]] = []
    for group in block.groups:
        columns = [*(parts[-1] if parts else [0]), *range(*group)]
        if parts and sum(narrowest[column] for column in columns) <= width:
            parts[-1] = columns
        else:
            parts.append([0, *range(*group)])
    for index, columns in enumerate(parts):
        yield Block(
            f"{block.title} (continued)" if index else block.title,
            tuple(block.header[c] for c in columns),
            tuple(tuple(row[c] for c in columns) for row in block.rows),
            frozenset((i, columns.index(j)) for i, j in block.bold if j in columns),
            tight=frozenset(columns.index(j) for j in block.tight if j in columns),
        )


def column_widths(block: Block, width: int) -> list[int]:
    """The widths of the columns: their texts' widths, or if these exceed the page, with the widest ones narrowed."""
    narrowest = [_narrowest(block, column) for column in range(len(block.header))]
    widths = [max(pair) for pair in zip(natural_widths(block), narrowest, strict=True)]
    while sum(widths) + GAP * len(widths) > width and widths != narrowest:
        spare = [have - need for have, need in zip(widths, narrowest, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def natural_widths(block: Block) -> list[int]:
    """The widths of the columns without a limit."""
    return [max(map(len, (name, *_texts(block, column)))) for column, name in enumerate(block.header)]


def _texts(block: Block, column: int) -> list[str]:
    """A column's texts; bold ones with room for the star that marks them in a terminal."""
    return [row[column] + (" *" if (i, column) in block.bold else "") for i, row in enumerate(block.rows)]


def _narrowest(block: Block, column: int) -> int:
    """The width below which a column would break a number: its longest piece without a possible break."""
    texts = _texts(block, column)
    words = [len(word) for text in (block.header[column], *texts) for word in text.split()]
    pieces = [len(piece) for text in texts for piece in text.split("; ")] if column in block.tight else []
    return max(min(20, max(words, default=1)), min(36, max(pieces, default=1)))

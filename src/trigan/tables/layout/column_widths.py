"""Column widths of a grid on a page of limited width, and the parts of a grid that is too wide."""

from collections.abc import Iterator

from trigan.tables.layout.blocks import Block

#: Characters between two columns of a grid.
GAP = 2


def split_to_width(block: Block, width: int) -> Iterator[Block]:
    """The block, or if even its narrowest form is too wide, its groups of columns one after another."""
    narrowest = [_narrowest(block, column) + GAP for column in range(len(block.header))]
    if len(block.groups) < 2 or sum(narrowest) <= width:
        yield block
        return
    start = 0
    while start < len(block.groups):
        stop, used = start, narrowest[0]
        while stop < len(block.groups):
            used += sum(narrowest[slice(*block.groups[stop])])
            if used > width and stop > start:
                break
            stop += 1
        columns = [0, *range(block.groups[start][0], block.groups[stop - 1][1])]
        yield Block(
            block.title if start == 0 else f"{block.title} (continued)",
            tuple(block.header[c] for c in columns),
            tuple(tuple(row[c] for c in columns) for row in block.rows),
            frozenset((i, columns.index(j)) for i, j in block.bold if j in columns),
            tight=frozenset(columns.index(j) for j in block.tight if j in columns),
        )
        start = stop


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

"""A grid of texts with a title: what a table is laid out as."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A grid of texts.

    Attributes:
        bold: (row, column) indices.
        groups: slices of columns that belong together, beside the first; a narrow page prints them one after another.
        tight: columns whose texts are broken only at semicolons.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    groups: tuple[tuple[int, int], ...] = ()
    tight: frozenset[int] = frozenset()

"""Where a row's gain comes from: a chain of rows, each with one thing more, and the differences of neighbours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import PairedComparison, compare_cells_of_any_data

#: For a row: (what is added, the row that this step starts from), first step first; the last one ends at the row.
Chain = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class AttributionStep:
    """One step: what it adds, and the difference between the rows with and without it, whatever each of them sees."""

    adds: str
    difference: PairedComparison


def attribution_steps(
    row: str, column: str, chain: Chain, cells: Mapping[tuple[str, str], Cell]
) -> tuple[AttributionStep, ...]:
    """The steps of a row's chain; their means add up to the row's difference to the chain's first row."""
    ends = [start for _, start in chain[1:]] + [row] * bool(chain)
    return tuple(
        AttributionStep(adds, compare_cells_of_any_data(end, start, column, cells[end, column], cells[start, column]))
        for (adds, start), end in zip(chain, ends, strict=True)
    )

"""The table: rows by columns of cells, and all that may be said about their differences. Numbers only, no layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import isclose
from statistics import fmean
from types import MappingProxyType

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.attribution import AttributionStep, Chain, attribution_steps
from trigan.tables.cell import METRICS, Cell, TableMetric
from trigan.tables.paired_comparison import (
    PairedComparison,
    compare_cells,
    correction,
    data_difference,
    paired_differences,
    resolved_not_worse,
)
from trigan.tables.published import MatchedResult, PublishedResult, match_to_cells
from trigan.tables.statistics import holm, minimal_detectable_difference, pooled_sd, summarise

#: A cell's place: (row, column).
CellKey = tuple[str, str]


@dataclass(frozen=True)
class Family:
    """The primary comparisons that a study declares: each of ``rows`` against the strongest of ``baselines``.

    Strongest: the best mean in that column among the baselines that see the same L, U, V and X.
    """

    rows: tuple[str, ...]
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class TableSpec:
    """What a table shows.

    Args:
        title: heading.
        rows, columns: names in the order they are shown.
        trials: the trials that every cell should have; None: in each column, all trials that any of its cells has.
        metric: one of ``METRICS``.
        reference: the row that differences are taken to; None for no differences.
        family: primary comparisons, or None.
        margin: the dagger's margin, in points (percent scores alone have daggers).
        ablations: of rows whose gain is divided among steps.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    trials: tuple[int, ...] | None = None
    metric: str = "accuracy"
    reference: str | None = None
    family: Family | None = None
    margin: float = 0.5
    ablations: Mapping[str, Chain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ConfigError(f"table: metric is {self.metric!r}, should be one of {', '.join(METRICS)}")
        for kind, names in (("rows", self.rows), ("columns", self.columns)):
            if not names or len(set(names)) != len(names):
                raise ConfigError(f"table: {kind} should be one or more different names, got {list(names)}")
        family = () if self.family is None else (*self.family.rows, *self.family.baselines)
        chained = (name for row, chain in self.ablations.items() for name in (row, *(start for _, start in chain)))
        for name in (*family, *chained, *(() if self.reference is None else (self.reference,))):
            if name not in self.rows:
                raise ConfigError(f"table: {name!r} is no row; rows are {', '.join(self.rows)}")
        if self.margin <= 0:
            raise ConfigError(f"table: margin is {self.margin}, should be above 0 points")


@dataclass(frozen=True)
class Detectable:
    """The minimal detectable difference of a column, and the pooled sd of paired differences that it rests on."""

    difference: float
    sd: float
    n: int


@dataclass(frozen=True)
class Table:
    """A built table. All mappings are read-only; a place that no record fills holds an empty cell."""

    spec: TableSpec
    cells: Mapping[CellKey, Cell]
    differences: Mapping[CellKey, PairedComparison] = field(default_factory=dict)
    primary: tuple[PairedComparison, ...] = ()
    best: frozenset[CellKey] = frozenset()
    not_worse: frozenset[CellKey] = frozenset()
    detectable: Mapping[str, Detectable] = field(default_factory=dict)
    published: tuple[MatchedResult, ...] = ()
    steps: Mapping[CellKey, tuple[AttributionStep, ...]] = field(default_factory=dict)

    def published_at(self, place: CellKey) -> tuple[PublishedResult, ...]:
        """The published figures that were got under the very conditions of a cell."""
        figures = (one.published for one in self.published if not one.differs)
        return tuple(figure for figure in figures if (figure.row, figure.column) == place)

    @property
    def metric(self) -> TableMetric:
        """What the cells measure."""
        return METRICS[self.spec.metric]


def build_table(
    records: Mapping[CellKey, Sequence[Record]], spec: TableSpec, published: Sequence[PublishedResult] = ()
) -> Table:
    """Build a table of the records by (row, column); places outside the spec are an error, missing ones are empty.

    Raises:
        ConfigError: a record's place is neither a row nor a column of the spec.
    """
    for row, column in records:
        if row not in spec.rows or column not in spec.columns:
            raise ConfigError(f"table: records for row {row!r}, column {column!r}, which the table does not have")
    cells = _cells(records, spec)
    best = frozenset(place for column in spec.columns for place in _best(cells, spec, column))
    differences: dict[CellKey, PairedComparison] = {}
    if spec.reference is not None:
        for row, column in cells:
            other = cells[spec.reference, column]
            differences[row, column] = compare_cells(row, spec.reference, column, cells[row, column], other)
    detectable = {column: found for column in spec.columns if (found := _detectable(cells, spec, column))}
    return Table(
        spec,
        MappingProxyType(cells),
        MappingProxyType(differences),
        _primary(cells, spec),
        best,
        frozenset(place for place in cells if _dagger(place, cells, best, spec)),
        MappingProxyType(detectable),
        match_to_cells(published, cells),
        MappingProxyType(
            {
                (row, column): attribution_steps(row, column, chain, cells)
                for row, chain in spec.ablations.items()
                for column in spec.columns
            }
        ),
    )


def _cells(records: Mapping[CellKey, Sequence[Record]], spec: TableSpec) -> dict[CellKey, Cell]:
    cells = {}
    for column in spec.columns:
        found = {r["tags"]["trial"] for place, group in records.items() if place[1] == column for r in group}
        expected = tuple(sorted(found)) if spec.trials is None else spec.trials
        for row in spec.rows:
            chosen = tuple(r for r in records.get((row, column), ()) if r["tags"]["trial"] in expected)
            cells[row, column] = Cell(chosen, expected, METRICS[spec.metric])
    return {(row, column): cells[row, column] for row in spec.rows for column in spec.columns}


def _best(cells: Mapping[CellKey, Cell], spec: TableSpec, column: str) -> list[CellKey]:
    """The complete cells with the best mean of a column; more than one if they tie."""
    sign = 1.0 if METRICS[spec.metric].higher_is_better else -1.0
    means = {
        (row, column): sign * cell.summary.mean
        for row in spec.rows
        if (cell := cells[row, column]).summary is not None and not cell.incomplete
    }
    top = max(means.values(), default=0.0)
    return [place for place, mean in means.items() if isclose(mean, top, rel_tol=1e-12)]


def _dagger(place: CellKey, cells: Mapping[CellKey, Cell], best: frozenset[CellKey], spec: TableSpec) -> bool:
    """Whether a cell is shown to be not worse than a best cell of its column by more than the margin."""
    if place in best or not METRICS[spec.metric].percent:
        return False
    rivals = [other for other in best if other[1] == place[1]]
    return any(resolved_not_worse(cells[place], cells[rival], spec.margin / 100) for rival in rivals)


def _primary(cells: Mapping[CellKey, Cell], spec: TableSpec) -> tuple[PairedComparison, ...]:
    """The family's comparisons, with Holm's p over all that have a p."""
    if spec.family is None:
        return ()
    found = [_against_strongest(row, column, cells, spec.family) for column in spec.columns for row in spec.family.rows]
    tested = [i for i, one in enumerate(found) if one.p is not None]
    adjusted = holm([p for one in found if (p := one.p) is not None])
    for index, p_holm in zip(tested, adjusted, strict=True):
        found[index] = replace(found[index], p_holm=p_holm)
    return tuple(found)


def _against_strongest(row: str, column: str, cells: Mapping[CellKey, Cell], family: Family) -> PairedComparison:
    cell = cells[row, column]
    sign = 1.0 if cell.metric.higher_is_better else -1.0
    rivals = []
    for name in family.baselines:
        other = cells[name, column]
        if name == row or data_difference(cell, other):
            continue
        if other.incomplete or other.summary is None:  # it might be the strongest
            return PairedComparison(row, name, column, "incomplete", reason=f"{name} is incomplete")
        rivals.append((sign * other.summary.mean, name))
    if not rivals:
        return PairedComparison(row, "", column, "different_data", reason="no baseline uses the same data")
    # max() keeps the first of equal means, so the order of the baselines decides.
    strongest = max(rivals, key=lambda rival: rival[0])[1]
    return compare_cells(row, strongest, column, cell, cells[strongest, column])


def _detectable(cells: Mapping[CellKey, Cell], spec: TableSpec, column: str) -> Detectable | None:
    """From the pooled sd of the paired differences of all pairs of rows that may be compared; needs three trials."""
    deviations, ratios, n = [], [], 0
    for first, second in combinations(spec.rows, 2):
        cell, other = cells[first, column], cells[second, column]
        if cell.n < 3 or cell.incomplete or other.incomplete or data_difference(cell, other):
            continue
        summary = summarise(paired_differences(cell, other))
        if summary.sd is not None:
            deviations.append((summary.sd, summary.n))
            n = summary.n
            ratios.append(correction(cell, other) or 0.0)
    if not deviations:
        return None
    sd = pooled_sd(deviations)
    return Detectable(minimal_detectable_difference(sd, n, fmean(ratios)), sd, n)

"""The table: rows by columns of cells, with the comparisons between them. Numbers only, no layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import isclose
from statistics import fmean
from types import MappingProxyType

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.cell import METRICS, Cell, TableMetric
from trigan.tables.paired_comparison import (
    PairedComparison,
    compare_cells,
    compare_cells_of_any_data,
    correction,
    data_difference,
    paired_differences,
    resolved_not_worse,
)
from trigan.tables.published import MatchedResult, PublishedResult, match_to_cells
from trigan.tables.statistics import holm, minimal_detectable_difference, pooled_sd, summarise

#: Position of a cell: (row, column).
CellKey = tuple[str, str]
#: Ablation of a row: (what the step adds, the row it starts from), first step first; the last step ends at the row.
Chain = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class AttributionStep:
    """One step of an ablation: the difference between the rows with and without what it ``adds``."""

    adds: str
    difference: PairedComparison


@dataclass(frozen=True)
class Family:
    """The primary comparisons that a study declares: each of ``rows`` against the strongest of ``baselines``.

    Strongest: the best mean in that column among the baselines that use the same L, U, V and X.
    """

    rows: tuple[str, ...]
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class TableSpec:
    """What a table shows.

    Args:
        title: heading.
        rows, columns: names in the order of display.
        trials: the trials that every cell should have; None: in each column, all trials that any of its cells has.
        metric: one of ``METRICS``.
        reference: the row that is subtracted from each row; None for no differences.
        family: primary comparisons, or None.
        margin: of the dagger, in points; only percent scores have daggers.
        ablations: by row, the steps that make up its gain.
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
    """The minimal detectable difference of a column, and the pooled sd of paired differences behind it."""

    difference: float
    sd: float
    n: int


@dataclass(frozen=True)
class Table:
    """A built table. All mappings are read-only; a position without records holds an empty cell."""

    spec: TableSpec
    cells: Mapping[CellKey, Cell]
    differences: Mapping[CellKey, PairedComparison] = field(default_factory=dict)
    primary: tuple[PairedComparison, ...] = ()
    best: frozenset[CellKey] = frozenset()
    not_worse: frozenset[CellKey] = frozenset()
    detectable: Mapping[str, Detectable] = field(default_factory=dict)
    published: tuple[MatchedResult, ...] = ()
    steps: Mapping[CellKey, tuple[AttributionStep, ...]] = field(default_factory=dict)

    def published_at(self, key: CellKey) -> tuple[PublishedResult, ...]:
        """The published results obtained under exactly the conditions of a cell."""
        results = (one.published for one in self.published if not one.differs)
        return tuple(result for result in results if (result.row, result.column) == key)

    @property
    def metric(self) -> TableMetric:
        """What the cells measure."""
        return METRICS[self.spec.metric]


def build_table(
    records: Mapping[CellKey, Sequence[Record]], spec: TableSpec, published: Sequence[PublishedResult] = ()
) -> Table:
    """Build a table of the records by (row, column); a position without records gets an empty cell.

    Raises:
        ConfigError: a record's position is not in the spec.
    """
    for row, column in records:
        if row not in spec.rows or column not in spec.columns:
            raise ConfigError(f"table: records for row {row!r}, column {column!r}, which the table does not have")
    cells = _cells(records, spec)
    best = frozenset(key for column in spec.columns for key in _best(cells, spec, column))
    differences = {
        (row, column): compare_cells(row, spec.reference, column, cell, cells[spec.reference, column])
        for (row, column), cell in cells.items()
        if spec.reference is not None
    }
    steps = {
        (row, column): _attribution(row, column, chain, cells)
        for row, chain in spec.ablations.items()
        for column in spec.columns
    }
    return Table(
        spec,
        MappingProxyType(cells),
        MappingProxyType(differences),
        _primary(cells, spec),
        best,
        frozenset(key for key in cells if _dagger(key, cells, best, spec)),
        MappingProxyType({c: found for c in spec.columns if (found := _detectable(cells, spec, c))}),
        match_to_cells(published, cells),
        MappingProxyType(steps),
    )


def _cells(records: Mapping[CellKey, Sequence[Record]], spec: TableSpec) -> dict[CellKey, Cell]:
    expected = {column: spec.trials for column in spec.columns}
    for column in spec.columns if spec.trials is None else ():
        expected[column] = tuple(
            sorted({r["tags"]["trial"] for k, rs in records.items() if k[1] == column for r in rs})
        )
    cells = {}
    for row in spec.rows:
        for column, trials in expected.items():
            chosen = tuple(r for r in records.get((row, column), ()) if r["tags"]["trial"] in (trials or ()))
            cells[row, column] = Cell(chosen, trials or (), METRICS[spec.metric])
    return cells


def _attribution(row: str, column: str, chain: Chain, cells: Mapping[CellKey, Cell]) -> tuple[AttributionStep, ...]:
    """The steps of a row's chain; their means add up to the difference between the row and the chain's first row."""
    ends = [start for _, start in chain[1:]] + [row] * bool(chain)
    return tuple(
        AttributionStep(adds, compare_cells_of_any_data(end, start, column, cells[end, column], cells[start, column]))
        for (adds, start), end in zip(chain, ends, strict=True)
    )


def _best(cells: Mapping[CellKey, Cell], spec: TableSpec, column: str) -> list[CellKey]:
    """The complete cells with the best mean of a column; several if they tie."""
    means = {
        (row, column): cell.metric.sign * cell.summary.mean
        for row in spec.rows
        if (cell := cells[row, column]).summary is not None and not cell.incomplete
    }
    top = max(means.values(), default=0.0)
    return [key for key, mean in means.items() if isclose(mean, top, rel_tol=1e-12)]


def _dagger(key: CellKey, cells: Mapping[CellKey, Cell], best: frozenset[CellKey], spec: TableSpec) -> bool:
    """Whether a cell is shown to be not worse than a best cell of its column by more than the margin."""
    if key in best or not METRICS[spec.metric].percent:
        return False
    rivals = [other for other in best if other[1] == key[1]]
    return any(resolved_not_worse(cells[key], cells[rival], spec.margin / 100) for rival in rivals)


def _primary(cells: Mapping[CellKey, Cell], spec: TableSpec) -> tuple[PairedComparison, ...]:
    """The family's comparisons, with Holm's p over all that have a p."""
    if spec.family is None:
        return ()
    family = [
        _against_strongest(row, column, cells, spec.family) for column in spec.columns for row in spec.family.rows
    ]
    adjusted = iter(holm([one.p for one in family if one.p is not None]))
    return tuple(one if one.p is None else replace(one, p_holm=next(adjusted)) for one in family)


def _against_strongest(row: str, column: str, cells: Mapping[CellKey, Cell], family: Family) -> PairedComparison:
    cell = cells[row, column]
    means = {}
    for name in family.baselines:
        other = cells[name, column]
        if name == row or data_difference(cell, other):
            continue
        if other.incomplete or other.summary is None:  # it might be the strongest
            return PairedComparison(row, name, column, "incomplete", reason=f"{name} is incomplete")
        means[name] = cell.metric.sign * other.summary.mean
    if not means:
        return PairedComparison(row, "", column, "different_data", reason="no baseline uses the same data")
    strongest = max(means, key=lambda name: means[name])  # the first of equal means
    return compare_cells(row, strongest, column, cell, cells[strongest, column])


def _detectable(cells: Mapping[CellKey, Cell], spec: TableSpec, column: str) -> Detectable | None:
    """From the pooled sd of the paired differences of all comparable pairs of rows; needs three trials."""
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

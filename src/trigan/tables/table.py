"""The table: rows by columns of cells, with the comparisons between them. Numbers only, no layout.

`table_data` gives them one row a cell: for CSV, W&B, or ``pandas.DataFrame(table_data(table))``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from math import isclose
from pathlib import Path
from types import MappingProxyType

from trigan.errors import ConfigError
from trigan.records.file_index import FileIndex
from trigan.records.record import Record
from trigan.records.seal_ledger import Ledger
from trigan.scores import (
    CLASSIFIER_FIGURES,
    GENERATOR_METRICS,
    ROBUSTNESS_METRICS,
    TABLE_METRICS,
    Metric,
    robustness_score,
)
from trigan.tables.cell import DATA_KEYS, Cell, require_comparable
from trigan.tables.image_outcomes import ImageOutcomes
from trigan.tables.looks import LOOKS_FILE, Look, count_look
from trigan.tables.paired_comparison import (
    PairedComparison,
    against_all,
    compare_cells,
    data_difference,
    resolved_not_worse,
    same_test_sets,
    with_holm,
)
from trigan.tables.published import PublishedResult, difference_from
from trigan.tables.seal_uses import SealUse, seal_uses
from trigan.tables.stored_predictions import SamplingInterval, indexed_interval

#: Position of a cell: (row, column).
CellKey = tuple[str, str]
#: Ablation of a row: (what the step adds, the row it starts from), first step first; the last step ends at the row.
Chain = Sequence[tuple[str, str]]
#: A number of a table, or a word.
Value = str | float | int | bool | None

#: By how much the operations of a row with matched compute may differ, as a fraction.
MATCH_TOLERANCE = 0.1

_COMPARISON = (
    *("against", "kind", "mean", "low", "high", "p", "p_sign_flip", "p_holm"),
    *("claim", "detectable", "correlation", "reason"),
)


@dataclass(frozen=True)
class Family:
    """The primary comparisons that a study declares: each of ``rows`` against every one of ``baselines``.

    That is, those that use the same L, U, V and X, without those that are given the compute of another row. The
    difference shown is to the strongest, which has the best mean.
    """

    rows: tuple[str, ...]
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class TableSpec:
    """What a table shows.

    Args:
        rows, columns: names in the order of display.
        trials: the trials that every cell should have; None: in each column, all trials that any of its cells has.
        metric: one of ``TABLE_METRICS``.
        reference: the row that is subtracted from each row; None for no differences.
        family: primary comparisons, or None.
        margin: of the dagger, in points; only percent scores have daggers.
        ablations: by row, the steps that make up its gain.
        matched: rows that are given the compute of another -> that row. A row of the family is compared with its own
            matched baselines, not with those of other rows.
        look: the how many-th look at these trials this is, which gives the level of the claims.
        declared: by row, its own settings, and the names of further differences that the study declares.
        damaged: runs whose records cannot be used, with the reasons; their cells are incomplete.
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
    matched: Mapping[str, str] = field(default_factory=dict)
    look: Look = field(default_factory=Look)
    declared: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def baselines_of(self, row: str) -> tuple[str, ...]:
        """The baselines that a row of the family is compared with."""
        baselines = () if self.family is None else self.family.baselines
        return tuple(name for name in baselines if name != row and self.matched.get(name, row) == row)

    def __post_init__(self) -> None:
        if self.metric not in TABLE_METRICS:
            raise ConfigError(f"table: metric is {self.metric!r}, should be one of {', '.join(TABLE_METRICS)}")
        for kind, names in (("rows", self.rows), ("columns", self.columns)):
            if not names or len(set(names)) != len(names):
                raise ConfigError(f"table: {kind} should be one or more different names, got {list(names)}")
        family = () if self.family is None else (*self.family.rows, *self.family.baselines)
        chained = (name for row, chain in self.ablations.items() for name in (row, *(start for _, start in chain)))
        matched = (*self.matched, *self.matched.values())
        for name in (*family, *chained, *matched, *(() if self.reference is None else (self.reference,))):
            if name not in self.rows:
                raise ConfigError(f"table: {name!r} is no row; rows are {', '.join(self.rows)}")
        if self.margin <= 0:
            raise ConfigError(f"table: margin is {self.margin}, should be above 0 points")


@dataclass(frozen=True)
class Table:
    """A table; what is derived from its cells is computed on demand. A position without records has an empty cell.

    ``ledger``: by test set, the settings that have met it, in this table or elsewhere. ``sampling``: by run, the
    interval of its test set's own sampling error, where it is to be shown. ``quality``: whether gains are shown beside
    the quality of generators. ``compared``: the comparisons made so far, which copies of the table share.
    """

    spec: TableSpec
    cells: Mapping[CellKey, Cell]
    published: tuple[PublishedResult, ...] = ()
    ledger: Ledger = field(default_factory=dict, repr=False)
    sampling: Mapping[str, SamplingInterval] = field(default_factory=dict, repr=False)
    quality: bool = False
    compared: dict[tuple[str, str, str, bool], PairedComparison] = field(default_factory=dict, repr=False)

    @cached_property
    def metric(self) -> Metric:
        """What the cells measure; a sensitivity is named by its specificity, an attack by its size, if all agree."""
        metric, records = (
            TABLE_METRICS[self.spec.metric],
            [record for cell in self.cells.values() for record in cell.records],
        )
        if metric.key in ROBUSTNESS_METRICS:
            blocks = [one["result"]["robustness"] for one in records if "robustness" in one["result"]]
            sizes = {robustness_score(block, metric.key)[1] for block in blocks} - {None}
            return replace(metric, label=f"{metric.label}, eps {sizes.pop():.3g}") if len(sizes) == 1 else metric
        levels = {level for one in records if (level := one["result"]["test"].get("specificity")) is not None}
        if metric.key != "sensitivity" or len(levels) != 1:
            return metric
        return replace(metric, label=f"sensitivity at {100 * levels.pop():g} % specificity")

    def published_at(self, key: CellKey) -> tuple[PublishedResult, ...]:
        """The published results obtained under exactly the conditions of a cell."""
        return tuple(one for one in self.published if not one.differs and (one.row, one.column) == key)

    @cached_property
    def differences(self) -> Mapping[CellKey, PairedComparison]:
        """Each cell against the reference row; empty without one.

        In a table without a declared family these are the family, with Holm's p over all of them.
        """
        against = self.spec.reference
        if against is None:
            return {}
        found = [self._compare(row, against, column) for row, column in self.cells]
        level = self.spec.look.level
        return dict(zip(self.cells, found if self.spec.family else with_holm(found, level), strict=True))

    @property
    def family(self) -> tuple[PairedComparison, ...]:
        """The comparisons that the table makes claims by: the declared ones, or else those with the reference."""
        return self.primary if self.spec.family is not None else tuple(self.differences.values())

    @cached_property
    def steps(self) -> Mapping[CellKey, tuple[tuple[str, PairedComparison], ...]]:
        """What each step of an ablation adds, and the difference between the rows with and without it.

        The means add up to the difference between the last and the first row.
        """
        steps = {}
        for (row, chain), column in product(self.spec.ablations.items(), self.spec.columns):
            ends = [*(start for _, start in chain[1:]), row]
            steps[row, column] = tuple(
                (adds, self._compare(end, start, column, True)) for (adds, start), end in zip(chain, ends, strict=False)
            )
        return steps

    @cached_property
    def best(self) -> frozenset[CellKey]:
        """The complete cells with the best mean of their column; several if they tie."""
        best = set()
        for column in self.spec.columns:
            means = {
                (row, column): cell.metric.sign * cell.summary.mean
                for row in self.spec.rows
                if (cell := self.cells[row, column]).summary is not None and not cell.incomplete
            }
            top = max(means.values(), default=0.0)
            best |= {key for key, mean in means.items() if isclose(mean, top, rel_tol=1e-12)}
        return frozenset(best)

    @cached_property
    def not_worse(self) -> frozenset[CellKey]:
        """The cells shown to be not worse than a best cell of their column by more than the margin (the dagger)."""
        margin = self.spec.margin / 100
        return frozenset(
            key
            for key, cell in self.cells.items()
            if self.metric.percent
            and key not in self.best
            and any(resolved_not_worse(cell, self.cells[best], margin) for best in self.best if best[1] == key[1])
        )

    @cached_property
    def primary(self) -> tuple[PairedComparison, ...]:
        """The declared comparisons, with Holm's p over all of them."""
        family = self.spec.family
        if family is None:
            return ()
        compared = [self.against_strongest(row, column) for column in self.spec.columns for row in family.rows]
        return with_holm(compared, self.spec.look.level)

    def against_strongest(self, row: str, column: str) -> PairedComparison:
        """A row of the table and the strongest baseline of the family that uses the same L, U, V and X; not by Holm."""
        cell, means = self.cells[row, column], {}
        for name in self.spec.baselines_of(row):
            other = self.cells[name, column]
            if data_difference(cell, other):
                continue
            if not same_test_sets(cell, other):
                return PairedComparison(row, name, column, "different_test", reason=f"{name} has another test set")
            if other.incomplete or other.summary is None:  # it might be the strongest
                return PairedComparison(row, name, column, "incomplete", reason=f"{name} is incomplete")
            means[name] = cell.metric.sign * other.summary.mean
        if not means:
            return PairedComparison(row, "", column, "different_data", reason="no baseline uses the same data")
        every = {name: self._compare(row, name, column) for name in means}
        strongest = max(means, key=lambda name: means[name])  # the first of equal means
        return against_all(every[strongest], list(every.values()))

    def _compare(self, row: str, against: str, column: str, any_data: bool = False) -> PairedComparison:
        """Two rows of a column, compared once."""
        key, cells = (row, against, column, any_data), (self.cells[row, column], self.cells[against, column])
        if key not in self.compared:
            self.compared[key] = compare_cells(row, against, column, *cells, any_data)
        return self.compared[key]

    @cached_property
    def unmatched_costs(self) -> Mapping[CellKey, float]:
        """The cells with matched compute whose operations differ by more than 10 %: times those of their row."""
        ratios = {}
        for (row, target), column in product(self.spec.matched.items(), self.spec.columns):
            own, other = self.cells[row, column].flops, self.cells[target, column].flops
            if own is not None and other and abs(own / other - 1) > MATCH_TOLERANCE:
                ratios[row, column] = own / other
        return ratios

    @cached_property
    def seal_uses(self) -> tuple[SealUse, ...]:
        """How many settings have met the test sets of each column."""
        return seal_uses(self.cells, self.spec.columns, self.ledger)


def build_table(
    records: Mapping[CellKey, Sequence[Record]],
    spec: TableSpec,
    published: Sequence[PublishedResult] = (),
    outcomes: Mapping[str, ImageOutcomes] = MappingProxyType({}),
    ledger: Ledger = MappingProxyType({}),
) -> Table:
    """Build a table of the records by (row, column); ``outcomes`` by run, as far as predictions are stored.

    Raises:
        ConfigError: a record's position is not in the spec, or figures of a column have different stamps.
    """
    trials: dict[str, set[int]] = {column: set() for column in spec.columns}
    for (row, column), group in records.items():
        if row not in spec.rows or column not in spec.columns:
            raise ConfigError(f"table: records for row {row!r}, column {column!r}, which the table does not have")
        trials[column] |= {record["tags"]["trial"] for record in group}
    cells = {}
    for row, column in product(spec.rows, spec.columns):
        expected = tuple(sorted(trials[column])) if spec.trials is None else spec.trials
        chosen = tuple(r for r in records.get((row, column), ()) if r["tags"]["trial"] in expected)
        cells[row, column] = Cell(chosen, expected, TABLE_METRICS[spec.metric], outcomes)
    for column in spec.columns:
        records_of_column = [one for row in spec.rows for one in cells[row, column].records]
        require_comparable(column, TABLE_METRICS[spec.metric], records_of_column)
    matched = (replace(one, differs=difference_from(one, cells.get((one.row, one.column)))) for one in published)
    return Table(spec, MappingProxyType(cells), tuple(matched), ledger)


def counted(table: Table, folder: Path) -> Table:
    """The table as a look at its trials, counted in ``folder``; as it is if it tests nothing yet.

    Raises:
        ArtifactError: the file of earlier looks is damaged.
    """
    return looked(table, partial(count_look, folder / LOOKS_FILE))


def looked(table: Table, count: Callable[[list[int]], Look]) -> Table:
    """The table as the look that ``count`` gives for its trials; as it is if it tests nothing yet."""
    tested = [table.cells[one.row, one.column].values for one in table.family if one.kind == "headline"]
    if not tested:
        return table
    look = count(list(set().union(*tested)))
    return replace(table, spec=replace(table.spec, look=look))


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
    summary, quality = cell.summary, dict[str, Value]()
    found = [one.generators.figures for one in table.cells.values() if one.generators is not None]
    by_classifier = any("gan_train" in one for one in found)
    shown = GENERATOR_METRICS | CLASSIFIER_FIGURES if by_classifier else GENERATOR_METRICS
    if (generators := cell.generators) is not None:
        quality = {name: generators.figures.get(one.figure) for name, one in shown.items()}
        quality["generator_copying"] = generators.copying
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
        **({name: quality.get(name) for name in (*shown, "generator_copying")} if found else {}),
        "rule": " ".join(cell.rules),
        "flops": cell.flops,
    }


def table_intervals(table: Table, folders: Mapping[str, Path], index: FileIndex) -> dict[str, SamplingInterval]:
    """By run, the sampling error of its test set, for the runs with predictions in one of the ``folders`` by run."""
    records = {record["run"]: record for cell in table.cells.values() for record in cell.records}
    key = table.metric.key
    found = {run: indexed_interval(records[run], key, folders[run], index) for run in records.keys() & folders}
    return {run: one for run, one in found.items() if one is not None}


def complete_means(table: Table) -> dict[str, float]:
    """``column/row`` -> mean, for the cells that have every trial."""
    return {
        f"{column}/{row}": cell.summary.mean
        for (row, column), cell in table.cells.items()
        if cell.summary is not None and not cell.incomplete
    }


def _comparison(name: str, one: PairedComparison | None) -> dict[str, Value]:
    return {f"{name}_{key}": getattr(one, key, None) for key in _COMPARISON}

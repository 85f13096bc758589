"""A cell: the records behind one number of a table, and what they say together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from trigan.records.record import DATA_KINDS, Record
from trigan.tables.statistics import Evidence, ValueSummary, evidence, summarise


@dataclass(frozen=True)
class TableMetric:
    """How a score of the test set is shown: ``percent`` scores are fractions shown as points."""

    key: str
    label: str
    percent: bool = True
    higher_is_better: bool = True


METRICS = {
    metric.key: metric
    for metric in (
        TableMetric("accuracy", "accuracy"),
        TableMetric("balanced_accuracy", "balanced accuracy"),
        TableMetric("macro_f1", "macro F1"),
        TableMetric("ece", "expected calibration error", higher_is_better=False),
        TableMetric("nll", "negative log-likelihood", percent=False, higher_is_better=False),
    )
}


@dataclass(frozen=True)
class Cell:
    """The records of one row in one column.

    The unit is the trial: several seeds of one trial are averaged into that trial's value. ``expected`` are the trials
    that the cell should have; one that lacks some is incomplete. Diverged runs keep their value, and are counted.
    """

    records: tuple[Record, ...] = field(repr=False)
    expected: tuple[int, ...]
    metric: TableMetric

    @cached_property
    def by_trial(self) -> dict[int, tuple[Record, ...]]:
        """The records of each trial, trials ascending, seeds ascending within."""
        groups: dict[int, list[Record]] = {}
        for record in sorted(self.records, key=lambda r: (r["tags"]["trial"], r["tags"]["seed"], r["run"])):
            groups.setdefault(record["tags"]["trial"], []).append(record)
        return {trial: tuple(group) for trial, group in groups.items()}

    @cached_property
    def values(self) -> dict[int, float]:
        """The metric of each trial that has it (an SVM may have no ``nll``), ascending."""
        found = {}
        for trial, group in self.by_trial.items():
            scores = [record["result"]["test"].get(self.metric.key) for record in group]
            numbers = [float(score) for score in scores if isinstance(score, int | float)]
            if len(numbers) == len(scores):
                found[trial] = fmean(numbers)
        return found

    @cached_property
    def curve(self) -> dict[int, list[float]]:
        """Test error along C's last fit: by images seen, that of each trial which was asked at that moment."""
        found: dict[int, list[float]] = {}
        for group in self.by_trial.values():
            errors: dict[int, list[float]] = {}
            for record in group:
                for point in record["result"].get("curve", ()):
                    errors.setdefault(point["images"], []).append(1.0 - point["accuracy"])
            for images, seeds in errors.items():
                found.setdefault(images, []).append(fmean(seeds))
        return dict(sorted(found.items()))

    @property
    def n(self) -> int:
        """How many trials have a value."""
        return len(self.values)

    @property
    def undefined(self) -> bool:
        """Runs are there, but none has this metric."""
        return bool(self.records) and not self.values

    @property
    def incomplete(self) -> bool:
        """A trial that the cell should have is missing."""
        return any(trial not in self.values for trial in self.expected)

    @property
    def evidence(self) -> Evidence:
        """What the number of trials allows to be said."""
        return evidence(self.n)

    @cached_property
    def summary(self) -> ValueSummary | None:
        """Mean, sd and range of the values; None without any."""
        return summarise(list(self.values.values())) if self.values else None

    @property
    def diverged(self) -> int:
        """In how many trials a run diverged."""
        return sum(any(r["result"]["status"] == "diverged" for r in group) for group in self.by_trial.values())

    @property
    def several_seeds(self) -> bool:
        """Some trial has more than one run."""
        return any(len(group) > 1 for group in self.by_trial.values())

    @property
    def data_used(self) -> dict[str, tuple[int, int]]:
        """For each of L, U, V and X the smallest and largest count over the records; of no records, nothing."""
        return {
            key: _extent([r["result"]["data_used"][key] for r in self.records]) for key in DATA_KINDS if self.records
        }

    @property
    def labels(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Smallest and largest count of labels used for training, and for selection."""
        used = [record["result"]["labels"] for record in self.records]
        return _extent([u["training"] for u in used]), _extent([u["selection"] for u in used])

    @property
    def rules(self) -> tuple[str, ...]:
        """The selection rules of the records: one, if the cell is what it should be."""
        return tuple(sorted({record["result"]["rule"] for record in self.records}))

    @property
    def stamps(self) -> dict[str, int]:
        """The stamps of the records, and how many have each."""
        found = Counter(stamp for record in self.records for stamp in record["result"]["stamps"])
        return dict(sorted(found.items()))

    @property
    def flops(self) -> float | None:
        """Mean counted operations of a run, every stage it stands on included; None where a run's are unknown."""
        counts = [record["result"]["cost"]["flops"] for record in self.records]
        known = [count for count in counts if count is not None]
        return fmean(known) if len(known) == len(counts) else None

    @property
    def images(self) -> dict[str, float] | None:
        """Mean images of a run, by player; None where a run's are unknown."""
        found = [record["result"]["cost"]["images"] for record in self.records]
        costs = [cost for cost in found if cost is not None]
        if len(costs) < len(found):
            return None
        players = sorted({player for cost in costs for player in cost})
        return {player: fmean(cost.get(player, 0) for cost in costs) for player in players}

    @property
    def test_over_train(self) -> float | None:
        """n_test / n_train, where trials redraw the test set; None where the test set is the same in all."""
        splits = [record["result"]["split"] for record in self.records]
        if not any(split["test_redrawn"] for split in splits):
            return None
        return fmean(split["n_test"] / split["n_train"] for split in splits)


def _extent(counts: Sequence[int]) -> tuple[int, int]:
    return min(counts), max(counts)

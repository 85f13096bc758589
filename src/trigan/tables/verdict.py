"""The verdict: what each way of using a GAN gains, what it is worth in labels, and where the gain comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import PairedComparison, correction
from trigan.tables.statistics import minimal_detectable_difference, summarise
from trigan.tables.table import Table

#: Trials beyond which more of them are no practical advice.
MAX_TRIALS = 200
#: Resamples of the trials behind an interval of label-equivalents, and their seed.
RESAMPLES, SEED = 2_000, 0


@dataclass(frozen=True)
class LabelCurve:
    """A baseline's score against labels per class.

    Attributes:
        labels: labels per class, ascending.
        values: by trial, the score at each of them; only trials that have all.
    """

    labels: tuple[int, ...]
    values: Mapping[int, tuple[float, ...]]

    @classmethod
    def of(cls, cells: Mapping[int, Cell]) -> "LabelCurve":
        """The curve through cells by labels per class."""
        labels = tuple(sorted(cells))
        trials = set.intersection(*(set(cell.values) for cell in cells.values())) if cells else set()
        return cls(labels, {trial: tuple(cells[n].values[trial] for n in labels) for trial in sorted(trials)})


@dataclass(frozen=True)
class LabelEquivalent:
    """Labels per class with which the baseline scores as a row does; 0 is below the fewest tried, inf above the most.

    ``low`` and ``high`` are the ends of the 95 % bootstrap interval over trials; None below five trials.
    """

    labels: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RowVerdict:
    """What is found of one row.

    Attributes:
        gain: over the strongest baseline that used the same data.
        detectable: the smallest true gain that these trials would mostly have seen; None below three.
        trials_needed: how many more trials would resolve a gain as large as the one seen; None: no practical number.
        label_equivalent: in labels of the baseline; None where there is no curve.
        cost: counted operations of a run, over those of the reference's.
        runs_without_samples: runs in which no sample passed the filters, so that there was nothing of a GAN in them.
    """

    row: str
    gain: PairedComparison
    detectable: float | None
    trials_needed: int | None
    label_equivalent: LabelEquivalent | None
    cost: float
    runs_without_samples: int = 0

    @property
    def resolved(self) -> bool:
        """Whether the interval of the gain leaves out zero."""
        shown = self.gain.kind in ("exploratory", "headline") and self.gain.low is not None
        return shown and (self.gain.low > 0 or self.gain.high < 0)  # type: ignore[operator]

    @property
    def helps(self) -> bool:
        """Whether it is shown to help."""
        return self.resolved and (self.gain.mean or 0.0) > 0


def row_verdicts(table: Table, column: str, curve: LabelCurve | None) -> tuple[RowVerdict, ...]:
    """One finding for each primary comparison of the column."""
    found = []
    reference = table.cells[str(table.spec.reference), column]
    for gain in table.primary:
        if gain.column != column:
            continue
        cell = table.cells[gain.row, column]
        against = table.cells.get((gain.against, column))
        detectable, more = _trials_needed(gain, cell, against) if against is not None else (None, None)
        found.append(
            RowVerdict(
                gain.row,
                gain,
                detectable,
                more,
                label_equivalent(curve, cell.values) if curve is not None else None,
                _ratio(cell, reference),
                cell.stamps.get("no-samples", 0),
            )
        )
    return tuple(found)


def _ratio(cell: Cell, reference: Cell) -> float:
    if not cell.records or not reference.records or cell.flops is None or not reference.flops:
        return math.nan
    return cell.flops / reference.flops


def _trials_needed(gain: PairedComparison, cell: Cell, against: Cell) -> tuple[float | None, int | None]:
    """The smallest gain that the trials would have seen, and how many more would see one like the gain seen."""
    n = len(gain.differences)
    if n < 3 or gain.mean is None:
        return None, None
    sd, ratio = summarise(gain.differences).sd or 0.0, correction(cell, against)
    seen = abs(gain.mean)
    enough = (m for m in range(n, MAX_TRIALS + 1) if minimal_detectable_difference(sd, m, ratio) <= seen)
    needed = next(enough, None) if seen > 0 else None
    return minimal_detectable_difference(sd, n, ratio), None if needed is None else needed - n


def label_equivalent(curve: LabelCurve, values: Mapping[int, float]) -> LabelEquivalent | None:
    """Labels per class at which the curve reaches the mean of ``values`` (score by trial); None without common trials.

    The curve is the mean over trials, made never to fall, and straight between budgets over log labels. The interval
    is from the percentiles over resampled trials, of curve and row together.
    """
    trials = [trial for trial in curve.values if trial in values]
    if not trials:
        return None
    scores = np.array([curve.values[trial] for trial in trials])
    own = np.array([values[trial] for trial in trials])
    labels = _reach(curve.labels, scores.mean(0), fmean(own))
    if len(trials) < 5:
        return LabelEquivalent(labels)
    picks = np.random.Generator(np.random.PCG64(SEED)).integers(0, len(trials), (RESAMPLES, len(trials)))
    found = np.sort([_reach(curve.labels, scores[pick].mean(0), float(own[pick].mean())) for pick in picks])
    # An order statistic, and no interpolation: an end may be infinite.
    return LabelEquivalent(labels, float(found[int(0.025 * RESAMPLES)]), float(found[int(0.975 * RESAMPLES) - 1]))


def _reach(labels: Sequence[int], scores: np.ndarray, target: float) -> float:
    rising = np.maximum.accumulate(scores)
    if target < rising[0]:
        return 0.0
    if target > rising[-1]:
        return math.inf
    after = int(np.argmax(rising >= target))
    if after == 0:
        return float(labels[0])
    share = (target - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(math.exp(math.log(labels[after - 1]) + share * math.log(labels[after] / labels[after - 1])))

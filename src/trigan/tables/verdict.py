"""The verdict: the gain of each way of using a GAN, its equivalent in labels, and its cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from trigan.tables.cell import Cell
from trigan.tables.looks import Look
from trigan.tables.paired_comparison import PairedComparison, correction
from trigan.tables.statistics import minimal_detectable_difference, summarise, t_interval
from trigan.tables.table import Table

#: Largest practical number of trials.
MAX_TRIALS = 200
#: Misclassified test images of the strongest baseline at or below which its score is called a ceiling.
CEILING = 3.0
#: Numbers of labels between two budgets at which the interval of a label equivalent is computed.
GRID = 50


@dataclass(frozen=True)
class LabelCurve:
    """A baseline's score against labels per class.

    Attributes:
        labels: labels per class, ascending.
        values: trial -> score at each number of labels; only trials that have all.
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
    """Labels per class with which the baseline reaches a row's score; 0: below the fewest tried, inf: above the most.

    ``low`` and ``high`` are the ends of the 95 % interval; None below five trials.
    """

    labels: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RowVerdict:
    """The verdict on one row.

    Attributes:
        gain: over the strongest baseline that used the same data.
        trials_needed: further trials that would resolve a gain as large as the observed one; None: no practical number.
        label_equivalent: in labels of the baseline; None without a curve.
        cost: counted FLOPs of a run, relative to the reference.
        runs_without_samples: runs in which no sample passed the filters, so that the GAN had no effect.
    """

    gain: PairedComparison
    trials_needed: int | None
    label_equivalent: LabelEquivalent | None
    cost: float
    runs_without_samples: int = 0


@dataclass(frozen=True)
class Headline:
    """The answer of a verdict.

    Attributes:
        trials: that every row has.
        test_images: of a trial.
        redrawn: whether each trial draws its own test images.
        helps, worse: claims; none below ten trials.
        strongest: the row with the highest mean, and its mean.
        detectable: largest of the primary comparisons' minimal detectable differences; None below three trials.
        detectable_later: the same with twice the trials.
        one_image: difference that one test image makes.
        ceiling: mean number of test images that the strongest baseline misclassifies, if so few that hardly any gain
            is possible; else None.
    """

    trials: int
    test_images: int
    redrawn: bool
    helps: tuple[PairedComparison, ...]
    worse: tuple[PairedComparison, ...]
    strongest: tuple[str, float]
    detectable: float | None
    detectable_later: float | None
    one_image: float
    ceiling: float | None


def headline(table: Table, column: str) -> Headline | None:
    """The answer of a column; None without any finished row."""
    cells = {row: cell for row in table.spec.rows if (cell := table.cells[row, column]).summary is not None}
    if not cells:
        return None
    means = {row: cell.summary.mean for row, cell in cells.items() if cell.summary is not None}
    best = max(means, key=lambda row: table.metric.sign * means[row])
    primary = [one for one in table.primary if one.column == column]
    splits = [record["result"]["split"] for cell in cells.values() for record in cell.records]
    test_images = min(split["n_test"] for split in splits)
    baselines = [means[name] for name in (table.spec.family.baselines if table.spec.family else ()) if name in means]
    wrong = test_images * (1 - max(baselines)) if baselines and table.spec.metric == "accuracy" else math.inf
    later = [_detectable_later(one, cells[one.row]) for one in primary if one.row in cells]
    return Headline(
        trials=min(cell.n for cell in cells.values()),
        test_images=test_images,
        redrawn=any(split["test_redrawn"] for split in splits),
        helps=tuple(one for one in primary if one.claim == "better"),
        worse=tuple(one for one in primary if one.claim == "worse"),
        strongest=(best, means[best]),
        detectable=max((one.detectable for one in primary if one.detectable is not None), default=None),
        detectable_later=max((one for one in later if one is not None), default=None),
        one_image=cells[best].resolution,
        ceiling=wrong if wrong <= CEILING else None,
    )


def _detectable_later(one: PairedComparison, cell: Cell) -> float | None:
    """The minimal detectable difference with twice the trials, of the same sd as ``one.detectable``."""
    n = len(one.differences)
    if one.detectable is None:
        return None
    sd = max(summarise(one.differences).sd or 0.0, cell.resolution)
    return minimal_detectable_difference(sd, 2 * n, None if one.overlap is None else one.overlap.ratio)


def row_verdicts(table: Table, column: str, curve: LabelCurve | None) -> tuple[RowVerdict, ...]:
    """One verdict for each primary comparison of the column."""
    verdicts = []
    reference = table.cells[str(table.spec.reference), column]
    for gain in (one for one in table.primary if one.column == column):
        cell, against = table.cells[gain.row, column], table.cells.get((gain.against, column))
        own, usual = cell.flops, reference.flops
        verdicts.append(
            RowVerdict(
                gain,
                _trials_needed(gain, cell, against, table.spec.look) if against is not None else None,
                _equivalent(curve, cell, reference) if curve is not None else None,
                own / usual if own is not None and usual else math.nan,
                cell.stamps.get("no-samples", 0),
            )
        )
    return tuple(verdicts)


def _trials_needed(gain: PairedComparison, cell: Cell, against: Cell, look: Look) -> int | None:
    """The further trials that would detect the observed gain at the next look; None: no practical number."""
    n = len(gain.differences)
    if n < 3 or gain.mean is None:
        return None
    sd, observed = max(summarise(gain.differences).sd or 0.0, cell.resolution), abs(gain.mean)
    ratio = correction(cell, against)
    enough = (
        m for m in range(n, MAX_TRIALS + 1) if minimal_detectable_difference(sd, m, ratio, look.next_level) <= observed
    )
    needed = next(enough, None) if observed > 0 else None
    return None if needed is None else needed - n


def _equivalent(curve: LabelCurve, cell: Cell, reference: Cell) -> LabelEquivalent | None:
    """With the correlation of trials as of the row and the reference, which has the curve's classifier."""
    return label_equivalent(curve, cell.values, correction(cell, reference), cell.resolution)


def label_equivalent(
    curve: LabelCurve, values: Mapping[int, float], ratio: float | None = None, resolution: float = 0.0
) -> LabelEquivalent | None:
    """Labels per class at which the curve reaches the mean of ``values`` (score by trial); None without common trials.

    The curve is the mean over trials, made monotone by its running maximum, and linear in log labels between budgets.
    The interval has the numbers of labels at which the paired t test, at 5 %, finds no difference between the row and
    the curve (each trial's own curve, interpolated alike): the test inverted, as in Fieller (1954). At the true number
    of labels the mean difference is zero, so it is covered as often as a t interval covers, whatever the slope of the
    curve. ``ratio`` and ``resolution`` are those of `t_interval`.
    """
    trials = [trial for trial in curve.values if trial in values]
    if not trials:
        return None
    scores = np.array([curve.values[trial] for trial in trials])
    own = np.array([values[trial] for trial in trials])
    labels = _labels_at(curve.labels, scores.mean(0), fmean(own))
    if len(trials) < 5:
        return LabelEquivalent(labels)
    low, high = _accepted(curve.labels, own[:, None] - scores, ratio, resolution)
    # Where the mean curve falls, its running maximum may reach the score at other labels than the curve itself.
    return LabelEquivalent(labels, min(low, labels), max(high, labels))


def _accepted(labels: Sequence[int], gaps: np.ndarray, ratio: float | None, resolution: float) -> tuple[float, float]:
    """Fewest and most labels whose gap (row minus curve, trials x budgets) the t test does not reject.

    The fewest is where the lower end of the gap's interval first reaches zero, the most where the upper end last does.
    Below the fewest labels tried the row may lie if it may be below the curve there, and so on above the most.
    """
    places = np.linspace(0, len(labels) - 1, GRID * (len(labels) - 1) + 1)
    before = np.minimum(places.astype(int), max(len(labels) - 2, 0))
    after, share = np.minimum(before + 1, len(labels) - 1), places - before
    along = gaps[:, before] * (1 - share) + gaps[:, after] * share
    ends = [t_interval(column.tolist(), ratio, resolution) for column in along.T]
    logs = np.interp(places, range(len(labels)), np.log(labels))
    low = _first_below([end.low for end in ends], logs, 0.0, math.inf)
    high = _first_below([-end.high for end in reversed(ends)], logs[::-1], math.inf, 0.0)
    return low, high


def _first_below(values: Sequence[float], logs: np.ndarray, at_once: float, never: float) -> float:
    """Number of labels at which the values first reach 0 from above, linear in log labels between them."""
    first = next((i for i, value in enumerate(values) if value <= 0), None)
    if first is None or first == 0:
        return never if first is None else at_once
    share = values[first - 1] / (values[first - 1] - values[first])
    return math.exp(float(logs[first - 1] + share * (logs[first] - logs[first - 1])))


def _labels_at(labels: Sequence[int], scores: np.ndarray, target: float) -> float:
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

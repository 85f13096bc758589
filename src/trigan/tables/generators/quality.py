"""Quality beside gain: the figures of each row's generator, and their rank correlation with the row's score.

A better metric of generators is one whose order of the rows is that of their gains (Ravuri and Vinyals 2019 compare FID
and the accuracy of a classifier in this way).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from trigan.scores import CLASSIFIER_FIGURES, GENERATOR_METRICS, Metric
from trigan.tables.cell import Cell
from trigan.tables.table import Table

#: The figures of the view, as far as the records have them.
SHOWN: dict[str, Metric] = {
    **{f"generator_{key}": GENERATOR_METRICS[f"generator_{key}"] for key in ("fid", "precision", "recall", "coverage")},
    **{key: CLASSIFIER_FIGURES[key] for key in ("generator_gan_train", "generator_nas_100")},
}
#: Fewer rows, or trials, have no order to speak of.
LEAST = 3
#: Permutations that are tried in full, up to 8 rows or trials; beyond that so many random ones, with a fixed seed.
MOST = math.factorial(8)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of a figure and the score, + if better figures go with better scores, and its p."""

    rho: float
    p: float


@dataclass(frozen=True)
class MetricAgreement:
    """How a figure orders the rows of a strategy: by their means, and the trials within each of the rows.

    Attributes:
        between: over the means of ``rows`` rows; None with fewer than `LEAST`.
        within: the mean over rows of the correlation over their ``trials`` trials, alike.
    """

    strategy: str
    metric: Metric
    rows: int
    trials: int
    between: RankCorrelation | None
    within: RankCorrelation | None


def generator_cells(table: Table, column: str) -> dict[str, Cell]:
    """The cells of a column with a generator, by row; those whose stamp is not that of the first are left out."""
    cells = {row: table.cells[row, column] for row in table.spec.rows if table.cells[row, column].generators}
    stamps = [cell.generators.stamp for cell in cells.values() if cell.generators is not None]
    return {row: one for row, one in cells.items() if one.generators is not None and one.generators.stamp == stamps[0]}


def shown_metrics(cells: Mapping[str, Cell]) -> tuple[Metric, ...]:
    """The figures that a record of the cells has."""
    results = [record["result"] for cell in cells.values() for record in cell.records]
    known = {name for one in results for name in one.get("generator", {"figures": {}})["figures"]}
    return tuple(metric for metric in SHOWN.values() if metric.figure in known)


def agreements(table: Table, column: str) -> tuple[MetricAgreement, ...]:
    """How each figure agrees with the score, over the complete rows with a generator; one entry a strategy and figure.

    Strategies are apart, since they differ in much more than the generator. A row with a generator that copies training
    images has no figure that copies improve, and is not counted there.
    """
    cells, found = generator_cells(table, column), []
    strategies = dict.fromkeys(cell.records[0]["tags"]["strategy"] for cell in cells.values())
    for strategy in strategies:
        group = [cell for cell in cells.values() if cell.records[0]["tags"]["strategy"] == strategy]
        for metric in shown_metrics(cells):
            pairs = [(replace(cell, metric=metric), cell) for cell in group]
            pairs = [(one, cell) for one, cell in pairs if not one.incomplete and not cell.incomplete]
            found.append(_agreement(strategy, metric, pairs, _reference(table, column)))
    return tuple(found)


def _reference(table: Table, column: str) -> Mapping[int, float]:
    """The reference's score in each trial."""
    return {} if table.spec.reference is None else table.cells[table.spec.reference, column].values


def _agreement(
    strategy: str, metric: Metric, pairs: Sequence[tuple[Cell, Cell]], reference: Mapping[int, float]
) -> MetricAgreement:
    """The reference is subtracted trial by trial, which leaves the order of the rows' means as it is."""
    trials = sorted(set.intersection(*(set(cell.values) for _, cell in pairs))) if pairs else []
    sign = metric.sign * (pairs[0][1].metric.sign if pairs else 1.0)
    figures = np.array([[sign * one.values[trial] for trial in trials] for one, _ in pairs])
    gains = np.array([[cell.values[trial] - reference.get(trial, 0.0) for trial in trials] for _, cell in pairs])
    between = within = None
    if len(pairs) >= LEAST and trials:
        between = rank_correlation(figures.mean(axis=1)[None], gains.mean(axis=1)[None])
    if pairs and len(trials) >= LEAST:
        within = rank_correlation(figures, gains)
    return MetricAgreement(strategy, metric, len(pairs), len(trials), between, within)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> RankCorrelation | None:
    """The mean over the rows of ``x`` and ``y``, both (R, n), of Spearman's correlation, with its permutation p.

    Under the null hypothesis the n columns of ``y`` are exchangeable; they are permuted in all rows at once, so that
    what the rows of a trial share (split, labels, the reference's noise) stays together. The p is two-sided, and exact
    up to n = 8. Rows without an order in ``x`` or ``y`` are left out; None if that leaves none.
    """
    from scipy.stats import rankdata  # see `t_interval`

    ranks = [rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (x, y)]
    norms = np.prod([np.linalg.norm(values, axis=1) for values in ranks], axis=0)
    kept = norms > 0.0
    if not kept.any():
        return None
    left, right = ((values[kept] / np.sqrt(norms[kept])[:, None]) for values in ranks)
    products = left.T @ right / kept.sum()  # (n, n): entry (i, j) is the sum over rows of left_i right_j
    orders = _orders(x.shape[1])
    every = products[np.arange(x.shape[1]), orders].sum(axis=1)
    return RankCorrelation(float(every[0]), float(np.mean(np.abs(every) >= abs(every[0]) - 1e-9)))


def _orders(n: int) -> np.ndarray:
    """All permutations of n numbers, or `MOST` with the first one as it is; the identity comes first, (P, n)."""
    if math.factorial(n) <= MOST:
        return np.array(list(permutations(range(n))))
    shuffle: Callable[[np.ndarray], np.ndarray] = np.random.default_rng(0).permutation
    return np.stack([np.arange(n), *(shuffle(np.arange(n)) for _ in range(MOST - 1))])

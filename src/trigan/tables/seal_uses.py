"""How often the test sets of a table have been used, and what the best of so many equal settings gains by chance."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from trigan.records.seal_ledger import Ledger, SealedKey, sealed_key, setting_digest
from trigan.tables.cell import Cell
from trigan.tables.statistics import pooled_sd


@dataclass(frozen=True)
class SealUse:
    """Test sets of a column that equally many settings have met.

    Attributes:
        test_sets: how many test sets these are: one for all trials, or one for each.
        gain, mean_gain: by how much the best of so many equal settings exceeds their true accuracy, as a fraction, in
            one trial and in the mean of the table's trials; None for another metric than accuracy, or one setting.
    """

    column: str
    trials: tuple[int, ...]
    test_sets: int
    settings: int
    gain: float | None
    mean_gain: float | None


def expected_maximum(m: int) -> float:
    """The expected maximum of m >= 1 independent standard normal variables: 0, 0.564, 0.846, ..., 1.867 for m = 20.

    The integral of 1 - F(x)^m over x > 0, less that of F(x)^m over x < 0, where F is the normal distribution.
    """
    from scipy.special import ndtr  # see `t_interval`

    x = np.linspace(0.0, 12.0, 6001)
    return float(np.trapezoid(1.0 - ndtr(x) ** m - ndtr(-x) ** m, x))


def chance_gains(cells: Sequence[Cell], settings: int) -> tuple[float, float] | None:
    """What the best of ``settings`` equal ones gains by chance: in one trial, and in the mean of the trials.

    The gain is `expected_maximum` times the sd of a score. With p the accuracy of the column's best row, N test images,
    and s the sd over trials, pooled over the rows, the variance of one trial's score is ``p (1 - p) / N + s^2`` for a
    test set that the trials share. Where they redraw it, s contains its sampling: ``max(p (1 - p) / N, s^2)``. In the
    mean of n trials s^2 counts 1/n; the sampling of a shared test set stays. Settings with equal predictions on most
    images gain less, so that this is an upper bound.
    """
    scored = [cell for cell in cells if cell.summary is not None]
    if settings < 2 or not scored or scored[0].metric.key != "accuracy":
        return None
    p = max(cell.summary.mean for cell in scored if cell.summary is not None)
    size = fmean(record["result"]["split"]["n_test"] for cell in scored for record in cell.records)
    spreads = [(cell.summary.sd, cell.n) for cell in scored if cell.summary is not None and cell.summary.sd is not None]
    sampling, spread = p * (1 - p) / size, pooled_sd(spreads) ** 2 if spreads else 0.0
    n = max(cell.n for cell in scored)
    if any(cell.test_over_train is not None for cell in scored):
        one = max(sampling, spread)
        mean = one / n
    else:
        one, mean = sampling + spread, sampling + spread / n
    best = expected_maximum(settings)
    return best * math.sqrt(one), best * math.sqrt(mean)


def seal_uses(cells: Mapping[tuple[str, str], Cell], columns: Sequence[str], ledger: Ledger) -> tuple[SealUse, ...]:
    """The uses of every column's test sets; a table's own records count, whether or not the ledger has them."""
    settings = {key: set(found) for key, found in ledger.items()}
    trials: dict[str, dict[SealedKey, set[int]]] = {column: defaultdict(set) for column in columns}
    for (_, column), cell in cells.items():
        for record in cell.records:
            if (key := sealed_key(record["result"]["split"])) is not None:
                settings.setdefault(key, set()).add(setting_digest(record["config"]))
                trials[column][key].add(record["tags"]["trial"])
    uses = []
    for column in columns:
        groups: dict[int, list[SealedKey]] = {}
        for key in trials[column]:
            groups.setdefault(len(settings[key]), []).append(key)
        of_column = [cell for (_, other), cell in cells.items() if other == column]
        for count, keys in sorted(groups.items()):
            used = tuple(sorted({trial for key in keys for trial in trials[column][key]}))
            gains = chance_gains(of_column, count) or (None, None)
            uses.append(SealUse(column, used, len(keys), count, *gains))
    return tuple(uses)

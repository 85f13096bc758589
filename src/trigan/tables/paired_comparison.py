"""The comparison of two rows in one column: within trials, only for equal data, and as far as n allows."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from trigan.records.record import DATA_KINDS
from trigan.tables.cell import Cell
from trigan.tables.statistics import evidence, sign_flip_p, summarise, t_interval

#: ``values`` .. ``headline`` by the number of trials; the others are the reasons why there is no comparison.
Kind = Literal["values", "range", "exploratory", "headline", "itself", "different_data", "incomplete", "absent"]


@dataclass(frozen=True)
class PairedComparison:
    """``row`` minus ``against`` in ``column``.

    Attributes:
        low, high: smallest and largest difference for ``range``; ends of the 95 % paired t interval for ``exploratory``
            and ``headline``.
        p: only for ``headline``; ``p_holm`` only in a declared family, ``p_sign_flip`` only for a shared test set.
        reason: why there is no comparison, in words.
    """

    row: str
    against: str
    column: str
    kind: Kind
    differences: tuple[float, ...] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    p_holm: float | None = None
    reason: str = ""

    @property
    def has_interval(self) -> bool:
        """Whether ``low`` and ``high`` are the ends of a 95 % interval."""
        return self.kind in ("exploratory", "headline")

    @property
    def verdict(self) -> Literal["higher", "lower", "not resolved"]:
        """Where the 95 % interval lies; ``not resolved`` if it contains zero, or if there is none."""
        if self.has_interval and self.low is not None and self.high is not None and (self.low > 0 or self.high < 0):
            return "higher" if self.low > 0 else "lower"
        return "not resolved"


_DATA_NAMES = {
    "L": "labelled images",
    "U": "unlabelled images",
    "V": "validation labels",
    "X": "images of other data sets",
}


def data_difference(cell: Cell, against: Cell) -> str:
    """How the data that ``cell`` uses differs from that of ``against``, in words; empty if L, U, V, X are equal."""
    trials = sorted(set(cell.by_trial) & set(against.by_trial))
    parts = []
    for kind in DATA_KINDS:
        counts = [[{r["result"]["data_used"][kind] for r in c.by_trial[t]} for c in (cell, against)] for t in trials]
        unequal = [(max(own), max(other)) for own, other in counts if own != other]
        if unequal:
            own, other = (max(largest) for largest in zip(*unequal, strict=True))
            verb = (
                "also uses" if other == 0 else "uses no" if own == 0 else "uses more" if own > other else "uses fewer"
            )
            parts.append(f"{verb} {_DATA_NAMES[kind]}")
    return "; ".join(parts)


def paired_differences(cell: Cell, against: Cell) -> tuple[float, ...]:
    """``cell`` minus ``against`` in each trial that both have, trials ascending."""
    return tuple(cell.values[trial] - against.values[trial] for trial in cell.values if trial in against.values)


def correction(cell: Cell, against: Cell) -> float | None:
    """Nadeau and Bengio's n_test / n_train for two cells: None unless trials redraw the test set."""
    ratios = [ratio for ratio in (cell.test_over_train, against.test_over_train) if ratio is not None]
    return max(ratios) if ratios else None


def compare_cells(
    row: str, against: str, column: str, cell: Cell, other: Cell, any_data: bool = False
) -> PairedComparison:
    """Compare two cells, or give the reason why they are not comparable.

    With ``any_data`` the data that each uses may differ: the effect of the method and of further data together.
    """
    result = partial(PairedComparison, row, against, column)
    if row == against:
        return result("itself")
    if not cell.values or not other.values:
        return result("absent", reason="not defined" if cell.undefined else "no run")
    if cell.incomplete or other.incomplete:
        return result("incomplete", reason="incomplete" if cell.incomplete else f"{against} is incomplete")
    if not any_data and (different := data_difference(cell, other)):
        return result("different_data", reason=f"not comparable; {different}")
    differences = paired_differences(cell, other)
    summary, kind = summarise(differences), evidence(len(differences))
    if kind == "values":
        return result(kind, differences, summary.mean)
    if kind == "range":
        return result(kind, differences, summary.mean, summary.low, summary.high)
    ratio = correction(cell, other)
    interval = t_interval(differences, ratio)
    if kind == "exploratory":
        return result(kind, differences, interval.mean, interval.low, interval.high)
    # Trials that redraw the test set are not independent, and the sign-flip test has no factor for that: in
    # simulations a third of such p values lie below 0.05 where nothing differs (benchmarks/calibration.py).
    p_flip = sign_flip_p(differences) if ratio is None else None
    return result(kind, differences, interval.mean, interval.low, interval.high, interval.p, p_flip)


def resolved_not_worse(cell: Cell, best: Cell, margin: float) -> bool:
    """Whether ``cell`` gets the dagger against ``best``: comparable, five trials or more, and within the margin.

    That is, the lower end of the two-sided 95 % interval of (row - best) is above ``-margin``, a fraction.
    """
    comparison = compare_cells("row", "best", "", cell, best)
    differences = [cell.metric.sign * value for value in comparison.differences]
    return comparison.has_interval and t_interval(differences, correction(cell, best)).low > -margin

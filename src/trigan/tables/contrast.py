"""The comparison of two rows in one column: within trials, only at equal sight, and as far as n allows."""

from dataclasses import dataclass
from typing import Literal

from trigan.records.record import SEES
from trigan.tables.cell import Cell
from trigan.tables.statistics import evidence, not_worse, sign_flip_p, summarise, t_interval

#: ``values`` .. ``headline`` by the number of trials; the others say why there is no comparison.
Kind = Literal["values", "range", "exploratory", "headline", "itself", "unequal", "incomplete", "absent"]


@dataclass(frozen=True)
class Contrast:
    """``row`` minus ``against`` in ``column``.

    ``low`` and ``high`` are the smallest and largest difference for ``range``, and the ends of the 95 % paired t
    interval for ``exploratory`` and ``headline``; the p values are there for ``headline`` alone, ``p_holm`` only in a
    declared family, ``p_sign_flip`` only where all trials share a test set. ``reason`` says in words why there is no
    comparison.
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


def unequal_sight(cell: Cell, against: Cell) -> str:
    """How what ``cell`` sees differs from what ``against`` sees, in words; empty if L, U, V, X agree in each trial."""
    more: set[str] = set()
    less: set[str] = set()
    for trial in sorted(set(cell.by_trial) & set(against.by_trial)):
        for key in SEES:
            mine = {record["result"]["sees"][key] for record in cell.by_trial[trial]}
            theirs = {record["result"]["sees"][key] for record in against.by_trial[trial]}
            if mine != theirs:
                (more if max(mine) > max(theirs) else less).add(key)
    if more and less:
        return f"sees other ({' '.join(key for key in SEES if key in more | less)})"
    if more or less:
        return f"sees {'more' if more else 'less'} ({' '.join(key for key in SEES if key in more | less)})"
    return ""


def paired_differences(cell: Cell, against: Cell) -> tuple[float, ...]:
    """``cell`` minus ``against`` in each trial that both have, trials ascending."""
    return tuple(cell.values[trial] - against.values[trial] for trial in cell.values if trial in against.values)


def correction(cell: Cell, against: Cell) -> float | None:
    """Nadeau and Bengio's n_test / n_train for two cells: None unless trials redraw the test set."""
    ratios = [ratio for ratio in (cell.test_over_train, against.test_over_train) if ratio is not None]
    return max(ratios) if ratios else None


def contrast(row: str, against: str, column: str, cell: Cell, other: Cell) -> Contrast:
    """Compare two cells, or say why not."""
    if row == against:
        return Contrast(row, against, column, "itself")
    found = measured(row, against, column, cell, other)
    sight = unequal_sight(cell, other) if found.differences else ""
    return Contrast(row, against, column, "unequal", reason=sight) if sight else found


def measured(row: str, against: str, column: str, cell: Cell, other: Cell) -> Contrast:
    """The difference of two cells whatever each of them sees: what the further sight or another method adds."""
    if not cell.values or not other.values:
        return Contrast(row, against, column, "absent", reason="no run" if not cell.undefined else "not defined")
    if cell.incomplete or other.incomplete:
        why = "incomplete" if cell.incomplete else f"{against} is incomplete"
        return Contrast(row, against, column, "incomplete", reason=why)
    differences = paired_differences(cell, other)
    summary, kind = summarise(differences), evidence(len(differences))
    if kind == "values":
        return Contrast(row, against, column, kind, differences, summary.mean)
    if kind == "range":
        return Contrast(row, against, column, kind, differences, summary.mean, summary.low, summary.high)
    ratio = correction(cell, other)
    interval = t_interval(differences, ratio)
    if kind == "exploratory":
        return Contrast(row, against, column, kind, differences, interval.mean, interval.low, interval.high)
    # Trials that redraw the test set are not independent, and sign flips know no factor for that: by simulation
    # a third of such p values would lie below 0.05 where nothing differs (benchmarks/calibration.py).
    p_flip = sign_flip_p(differences) if ratio is None else None
    return Contrast(
        row, against, column, kind, differences, interval.mean, interval.low, interval.high, interval.p, p_flip
    )


def resolved_not_worse(cell: Cell, best: Cell, margin: float) -> bool:
    """Whether ``cell`` earns the dagger against ``best``: comparable, five trials or more, and within the margin."""
    outcome = contrast("row", "best", "", cell, best)
    if outcome.kind not in ("exploratory", "headline"):
        return False
    sign = 1.0 if cell.metric.higher_is_better else -1.0
    return not_worse([sign * value for value in outcome.differences], margin, correction(cell, best))

"""Numbers as text: decimals, units and the words in a table's cells."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trigan.records.record import DATA_KINDS
from trigan.scores import Metric
from trigan.tables.cell import Cell
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.published import PublishedResult
from trigan.tables.statistics import evidence, summarise

_PLAYERS = {"classifier": "C", "discriminator": "D", "generator": "G"}


@dataclass(frozen=True)
class TextFormat:
    """How the numbers of one metric are written: percent with one decimal place, others with three."""

    metric: Metric

    @property
    def unit(self) -> str:
        """The unit of a difference: points of percent, or the metric's own unit."""
        return "points" if self.metric.percent else self.metric.unit

    def value(self, value: float, sign: str = "") -> str:
        """A score: ``95.1``; with the ``sign`` ``+`` a difference: ``+2.1``, and a zero without a sign."""
        places = 1 if self.metric.percent else 3
        number = round(100 * value if self.metric.percent else value, places) or 0.0
        return f"{number:{sign if number else ''}.{places}f}"

    def cell(self, cell: Cell, dagger: bool = False) -> str:
        """A cell by its number of trials, the dagger, and after semicolons diverged and missing trials."""
        if not cell.values:
            return cell.absence
        parts = [self.spread(list(cell.values.values())) + (" †" if dagger else "")]
        if cell.diverged:
            parts.append(f"{cell.diverged} of {cell.n} diverged")
        if cell.incomplete:
            parts.append(f"incomplete, {cell.n} of {len(cell.expected)}")
        return "; ".join(parts)

    def spread(self, values: Sequence[float]) -> str:
        """The values of trials, as their number allows: all of them, mean and range, or mean and deviation."""
        kind, summary = evidence(len(values)), summarise(values)
        if kind == "values":
            return ", ".join(map(self.value, values))
        if kind == "range" or summary.sd is None:
            return f"{self.value(summary.mean)} ({self.value(summary.low)} to {self.value(summary.high)})"
        return f"{self.value(summary.mean)} ± {self.value(summary.sd)}"

    def difference(self, one: PairedComparison, with_p: bool = True) -> str:
        """A difference with its range or interval (and p, if there is one), or the reason why there is none."""
        if one.kind == "itself":
            return "reference"
        if one.mean is None:
            return one.reason
        if one.low is None or one.high is None:
            return ", ".join(self.value(difference, "+") for difference in one.differences)
        mean, low, high = (self.value(value, "+") for value in (one.mean, one.low, one.high))
        if one.kind == "range":
            return f"{mean} ({low} to {high})"
        return f"{mean} [{low}, {high}]" + (f" p {format_p(one.p)}" if with_p and one.p is not None else "")


def format_published(result: PublishedResult) -> str:
    """A published result: ``18.63 ± 2.32 sd; n = 10; [T] 1606.03498``."""
    kind = {"interval95": "(95 %)"}.get(result.spread_kind, result.spread_kind)
    spread = f" ± {result.spread} {kind}" if result.spread else ""
    draws = f"; n = {result.draws}" if result.draws else ""
    return f"{result.value}{spread}{draws}; [{result.tag}] {result.arxiv}".rstrip()


def format_p(p: float | None) -> str:
    """A p value with three places, or ``< 0.001``; ``-`` for none."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def format_range(extent: tuple[int, int]) -> str:
    """A count, or its smallest and largest over the trials."""
    low, high = extent
    return f"{low}" if low == high else f"{low} to {high}"


def data_used_text(cell: Cell) -> str:
    """Which of L, U, V and X a cell used: ``L + U``."""
    return " + ".join(key for key in DATA_KINDS if cell.data_used.get(key, (0, 0))[1] > 0) or "nothing"


def format_flops(operations: float | None) -> str:
    """Three digits and a unit: ``1.23 PFLOP``; ``unknown`` for None."""
    if operations is None:
        return "unknown"
    units = {" PFLOP": 1e15, " TFLOP": 1e12, " GFLOP": 1e9, " MFLOP": 1e6}
    return _three_digits(operations, units) or f"{round(operations)} FLOP"


def format_images(number: float) -> str:
    """Images seen: ``640``, ``64k``, ``1.28M``."""
    return _three_digits(number, {"G": 1e9, "M": 1e6, "k": 1e3}) or f"{round(number)}"


def format_players(images: Mapping[str, float] | None) -> str:
    """Images by player: ``C:64k, D:128k, G:128k``; other players keep their names; ``unknown`` for None."""
    if images is None:
        return "unknown"
    named = sorted((_PLAYERS.get(player, player), number) for player, number in images.items())
    return ", ".join(f"{name}:{format_images(number)}" for name, number in named) or "none"


def _three_digits(number: float, units: Mapping[str, float]) -> str:
    """A number in the first unit that is not larger; empty if it is smaller than all."""
    for unit, size in units.items():
        if number >= size:
            text = f"{number / size:.3g}" if number / size < 1000 else f"{number / size:.0f}"
            return (f"{float(text):.0f}" if "e" in text else text) + unit
    return ""


def shorten(name: str, letters: int) -> str:
    """A name of at most so many letters, its end replaced by an ellipsis."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def join_names(names: Iterable[str]) -> str:
    """Names in a sentence: ``a``; ``a and b``; ``a, b and c``; quoted if a name contains a comma."""
    items = list(names)
    if any("," in name for name in items):
        items = [f'"{name}"' for name in items]
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def format_curve_images(kinds: Collection[str]) -> str:
    """What a curve along a fit shows, by what it was drawn on: ``Error on validation images``."""
    names = {
        "validation": "validation images",
        "hidden_labels": "training images with hidden labels",
        "test": "test images",
    }
    return f"Error on {' or '.join(name for kind, name in names.items() if kind in kinds) or 'held-out images'}"

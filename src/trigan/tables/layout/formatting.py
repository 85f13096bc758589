"""Numbers as text: one place for decimals, units and the words in a table's cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trigan.records.record import DATA_KINDS
from trigan.tables.cell import Cell, TableMetric
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.published import PublishedResult
from trigan.tables.statistics import evidence, summarise

_PLAYERS = {"classifier": "C", "discriminator": "D", "generator": "G"}


@dataclass(frozen=True)
class TextFormat:
    """How the numbers of one metric are written: percent with ``decimals`` places, others with three."""

    metric: TableMetric
    decimals: int = 1

    @property
    def unit(self) -> str:
        """What a difference counts: points of percent, or the metric's own unit."""
        return "points" if self.metric.percent else "nats"

    def value(self, value: float) -> str:
        """A score: ``95.1``."""
        return self._number(value, "")

    def signed(self, value: float) -> str:
        """A difference: ``+2.1``; a zero has no sign."""
        return self._number(value, "+")

    def _number(self, value: float, sign: str) -> str:
        places = self.decimals if self.metric.percent else 3
        number = round(100 * value if self.metric.percent else value, places)
        return f"{number:{sign if number else ''}.{places}f}" if number else f"{0:.{places}f}"

    def cell(self, cell: Cell, dagger: bool = False) -> str:
        """What a cell says by its number of trials, the dagger, and after semicolons diverged and missing trials."""
        if not cell.records:
            return "no run"
        if cell.undefined:
            return "not defined"
        parts = [self._summary(cell) + (" †" if dagger else "")]
        if cell.diverged:
            parts.append(f"{cell.diverged} of {cell.n} diverged")
        if cell.incomplete:
            parts.append(f"incomplete, {cell.n} of {len(cell.expected)}")
        return "; ".join(parts)

    def _summary(self, cell: Cell) -> str:
        return self.spread(list(cell.values.values()))

    def spread(self, values: Sequence[float]) -> str:
        """One value a trial, by what their number allows: all of them, mean and range, or mean and deviation."""
        if evidence(len(values)) == "values":
            return ", ".join(self.value(value) for value in values)
        summary = summarise(values)
        if evidence(len(values)) == "range" or summary.sd is None:
            return f"{self.value(summary.mean)} ({self.value(summary.low)} to {self.value(summary.high)})"
        return f"{self.value(summary.mean)} ± {self.value(summary.sd)}"

    def difference(self, one: PairedComparison, with_p: bool = True) -> str:
        """A difference with its range or interval (and p, if there is one), or the reason why there is none."""
        if one.kind == "itself":
            return "reference"
        if one.mean is None:
            return one.reason
        if one.low is None or one.high is None:
            return ", ".join(self.signed(value) for value in one.differences)
        low, high = self.signed(one.low), self.signed(one.high)
        if one.kind == "range":
            return f"{self.signed(one.mean)} ({low} to {high})"
        text = f"{self.signed(one.mean)} [{low}, {high}]"
        return f"{text} p {format_p(one.p)}" if with_p and one.p is not None else text


def format_published(figure: PublishedResult) -> str:
    """A published figure: ``18.63 ± 2.32 sd; n = 10; [T] 1606.03498``."""
    kind = {"interval95": "(95 %)"}.get(figure.spread_kind, figure.spread_kind)
    spread = f" ± {figure.spread} {kind}" if figure.spread else ""
    draws = f"; n = {figure.draws}" if figure.draws else ""
    return f"{figure.value}{spread}{draws}; [{figure.tag}] {figure.arxiv}".rstrip()


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
    """Which of L, U, V and X a cell saw any of: ``L + U``."""
    return " + ".join(key for key in DATA_KINDS if cell.data_used.get(key, (0, 0))[1] > 0) or "nothing"


def format_flops(operations: float | None) -> str:
    """Three figures and a unit: ``1.23 PFLOP``; ``unknown`` for None."""
    if operations is None:
        return "unknown"
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if operations >= size:
            return f"{_three_figures(operations / size)} {unit}"
    return f"{round(operations)} FLOP"


def format_images(number: float) -> str:
    """Images seen: ``640``, ``64k``, ``1.28M``."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{_three_figures(number / size)}{unit}"
    return f"{round(number)}"


def format_players(seen: Mapping[str, float] | None) -> str:
    """Images by player: ``C:64k, D:128k, G:128k``; unusual players keep their names; ``unknown`` for None."""
    if seen is None:
        return "unknown"
    named = sorted((_PLAYERS.get(player, player), number) for player, number in seen.items())
    return ", ".join(f"{name}:{format_images(number)}" for name, number in named) or "none"


def _three_figures(number: float) -> str:
    text = f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    return f"{float(text):.0f}" if "e" in text else text


def join_names(names: Iterable[str]) -> str:
    """Names in a sentence: ``a``; ``a and b``; ``a, b and c``; in quotes where a name has a comma of its own."""
    items = list(names)
    if any("," in name for name in items):
        items = [f'"{name}"' for name in items]
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)

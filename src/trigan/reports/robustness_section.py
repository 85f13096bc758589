"""Accuracy against the size of attacks, and against the severity of corruptions."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from trigan.reports.figures import Axis, Dot, Figure, Frame, Part, Section, Series, render, tick_text
from trigan.reports.report_data import ReportData
from trigan.tables.cell import Cell

#: The curves of one run: heading -> {size or severity: accuracy}.
Curves = Mapping[str, Mapping[float, float]]
_PERCENT = Axis(0, 100, tuple((float(tick), str(tick)) for tick in (0, 25, 50, 75, 100)), "accuracy, %")


def robustness(report: ReportData) -> Section | None:
    """A chart for each attack, and one of all corruptions; None if no run was tried with any."""
    parts = []
    for column in report.table.spec.columns:
        found = {row: curves for row, cell in report.cells(column).items() if (curves := _curves(cell))}
        names = list(dict.fromkeys(name for curves in found.values() for one in curves for name in one))
        charts = [_chart(name, {row: _of(name, curves) for row, curves in found.items()}) for name in names]
        if charts:
            parts.append(Part(report.subheading(column), figures=charts))
    return Section("robustness", "Robustness", render("robustness.html.j2", {"parts": parts})) if parts else None


def _curves(cell: Cell) -> list[Curves]:
    """The curves of each run that has any."""
    blocks: list[Any] = [one["result"]["robustness"] for one in cell.records if "robustness" in one["result"]]
    return [curves for block in blocks if (curves := curves_of(block))]


def curves_of(block: Mapping[str, Any]) -> Curves:
    """The curves of a record's block: size 0 and severity 0 are the clean images."""
    curves: dict[str, dict[float, float]] = {}
    for one in block.get("attacks", ()):
        curves.setdefault(one["attack"], {0.0: block["clean"]})[one["eps"]] = one["accuracy"]
    if by_severity := block.get("corruptions"):
        means = map(fmean, zip(*by_severity.values(), strict=True))
        curves["corruptions"] = {0.0: block["clean"], **dict(enumerate(means, start=1))}
    return curves


def _of(name: str, curves: Sequence[Curves]) -> list[Mapping[float, float]]:
    return [one[name] for one in curves if name in one]


def _chart(name: str, rows: Mapping[str, Sequence[Mapping[float, float]]]) -> Figure:
    sizes = sorted({size for runs in rows.values() for run in runs for size in run})
    label = "severity" if name == "corruptions" else "size of the attack"
    frame = Frame(Axis(0.0, sizes[-1], tuple((size, tick_text(size)) for size in sizes), label), _PERCENT, 440, 280)
    series, texts = [], []
    for row, runs in rows.items():
        points = {size: [100 * run[size] for run in runs if size in run] for size in sizes}
        means = {size: fmean(values) for size, values in points.items() if values}
        dots = [Dot(frame.at(size, value), 2.0) for size, values in points.items() for value in values]
        series.append(Series([frame.at(size, mean) for size, mean in means.items()], dots))
        texts.append(f"{row} " + ", ".join(f"{mean:.1f} at {size:.3g}" for size, mean in means.items()))
    alt = f"Accuracy in % under {name} over its {label}: {'; '.join(texts)}"
    key = [("line", index, row) for index, row in enumerate(rows)]
    return Figure("chart", {"frame": frame, "series": series, "texts": ()}, alt, title=name, key=key)

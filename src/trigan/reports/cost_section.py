"""Score against cost: counted operations of all stages of a run."""

import math
from collections.abc import Sequence

from trigan.reports.chart import Axis, Dot, Frame, Series, linear_axis
from trigan.reports.figures import Figure, Part, Section, render
from trigan.reports.report_data import ReportData
from trigan.tables.layout.formatting import format_flops

_DIGIT = 7
#: Offsets of a point's number, in order of preference.
_OFFSETS = ((8, 4), (-15, 4), (-4, -8), (-4, 17), (8, -8), (8, 16), (-15, -8), (-15, 16), (16, 4), (-24, 4))


def section(report: ReportData) -> Section:
    """Mean score over mean cost, one mark a row; rows of unknown cost are left out."""
    parts = [_plot(report, column) for column in report.table.spec.columns if any(report.cells(column))]
    title = f"Cost and {report.table.metric.label}"
    return Section("cost", title, render("section.html.j2", {"parts": parts}))


def _plot(report: ReportData, column: str) -> Part:
    points = [
        (row, cell.flops, cell.summary.mean)
        for row, cell in report.cells(column)
        if cell.flops is not None and cell.summary is not None
    ]
    axis, zero = _operations([flops for _, flops, _ in points])
    frame = Frame(axis, linear_axis([report.scale * mean for *_, mean in points], report.score), 460, 310, right=34)
    places = [frame.at(flops or zero, report.scale * mean) for _, flops, mean in points]
    texts = [f"{row}: {report.text_format.value(mean)} for {format_flops(flops)}" for row, flops, mean in points]
    dots = [Dot(at, 4.5, text) for at, text in zip(places, texts, strict=True)]
    numbers = [(x, y, i + 1) for i, (x, y) in enumerate(_beside(places))]
    alt = f"Mean {report.score} over counted operations on {column}: {'; '.join(texts)}"
    caption = "Mean over runs; FLOPs of all stages of a run, reused or not, on a logarithmic axis."
    data = {"frame": frame, "series": [Series(dots=dots)], "texts": numbers}
    return Part(report.subheading(column), figures=[Figure("chart", data, alt, caption)], numbered=texts)


def _operations(counts: Sequence[float]) -> tuple[Axis, float]:
    """A logarithmic axis, and the position of a cost of zero on it: a tick of its own at the left."""
    above = [math.log10(count) for count in counts if count > 0] or [0.0]
    low, high = math.floor(min(above)), math.ceil(max(above))
    high = max(high, low + 1)
    step = math.ceil((high - low) / 5)
    ticks = [(10.0**power, format_flops(10.0**power)) for power in range(low, high + 1, step)]
    left = low - 0.15 * (high - low) if 0 in counts else float(low)
    zero = 10.0 ** (left + 0.04 * (high - low))
    if 0 in counts:
        ticks.insert(0, (zero, "0"))
    return Axis(10.0**left, 10.0**high, tuple(ticks), "counted operations a run", log=True), zero


def _beside(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Position of each point's number: the first that covers no point and no other number."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    positions = []
    for index, (x, y) in enumerate(places):
        width = _DIGIT * len(str(index + 1))
        boxes = [(x + dx, y + dy - 9, x + dx + width, y + dy) for dx, dy in _OFFSETS]
        free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
        box = (free or boxes)[0]
        taken.append(box)
        positions.append((box[0], box[3]))
    return positions


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""What the scores cost: counted operations of everything that a run stands on."""

import math
from collections.abc import Sequence

from trigan.reports.chart import Axis, Frame, chart, figure, label, linear_axis, mark
from trigan.reports.report_data import ReportData, Section, by_column
from trigan.tables.layout.formatting import format_flops
from trigan.tables.layout.html import escape

_DIGIT = 7
#: Where a point's number may stand beside it, in the order of liking.
_BESIDE = ((8, 4), (-15, 4), (-4, -8), (-4, 17), (8, -8), (8, 16), (-15, -8), (-15, 16), (16, 4), (-24, 4))


def section(report: ReportData) -> Section:
    """Mean score over mean cost, a mark a row; a row whose cost nobody knows has none."""
    parts = {c: _plot(report, c) for c in report.table.spec.columns if any(report.cells(c))}
    body = by_column(report, parts) or "<p>No run has this score.</p>"
    return Section("cost", f"Cost and {report.table.metric.label}", body)


def _plot(report: ReportData, column: str) -> str:
    known = [(row, cell, cell.flops) for row, cell in report.cells(column) if cell.flops is not None]
    cells, fmt = [(row, cell) for row, cell, _ in known], report.text_format
    means = [cell.summary.mean if cell.summary is not None else math.nan for _, cell in cells]
    axis, nothing = _operations([spent for _, _, spent in known])
    frame = Frame(axis, linear_axis([report.scale * mean for mean in means], report.score), 460, 310, right=34)
    places = [frame.at(spent or nothing, report.scale * mean) for (_, _, spent), mean in zip(known, means, strict=True)]
    said = [
        f"{row}: {fmt.value(mean)} for {format_flops(cell.flops)}"
        for (row, cell), mean in zip(cells, means, strict=True)
    ]
    marks = [mark(x, y, 0, 4.5, title=one) for (x, y), one in zip(places, said, strict=True)]
    marks += [label(x, y, str(i + 1), "small") for i, (x, y) in enumerate(_beside(places))]
    alt = f"Mean {report.score} over counted operations on {column}: {'; '.join(said)}"
    items = "".join(f"<li>{escape(one)}</li>" for one in said)
    caption = "Mean over runs; operations of all stages that a run stands on, reused or not, drawn in logarithms."
    return f'{figure(chart(frame, marks, alt), caption)}\n<ol class="numbered">{items}</ol>'


def _operations(counts: Sequence[float]) -> tuple[Axis, float]:
    """A logarithmic axis, and where on it a cost of zero stands: a tick of its own at the left."""
    above = [math.log10(count) for count in counts if count > 0] or [0.0]
    low, high = math.floor(min(above)), math.ceil(max(above))
    high = max(high, low + 1)
    step = math.ceil((high - low) / 5)
    ticks = [(10.0**power, format_flops(10.0**power)) for power in range(low, high + 1, step)]
    left = low - 0.15 * (high - low) if 0 in counts else float(low)
    nothing = 10.0 ** (left + 0.04 * (high - low))
    if 0 in counts:
        ticks.insert(0, (nothing, "0"))
    return Axis(10.0**left, 10.0**high, tuple(ticks), "counted operations a run", log=True), nothing


def _beside(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where each point's number is written: the first place that hides no point and no other number."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    found = []
    for index, (x, y) in enumerate(places):
        width = _DIGIT * len(str(index + 1))
        boxes = [(x + dx, y + dy - 9, x + dx + width, y + dy) for dx, dy in _BESIDE]
        free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
        box = (free or boxes)[0]
        taken.append(box)
        found.append((box[0], box[3]))
    return found


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

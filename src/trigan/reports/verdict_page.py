"""The verdict as one Markdown page: what helps, how much, its equivalent in labels, its origin and its cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trigan.reports.figures import render
from trigan.tables.layout.blocks import attribution
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.layout.text import markdown_grid, render_markdown
from trigan.tables.table import Table
from trigan.tables.verdict import LabelCurve, LabelEquivalent, RowVerdict

_GAINS = ("row", "gain", "baseline", "detectable gain", "label equivalent (per class)", "relative FLOPs", "verdict")


@dataclass(frozen=True)
class VerdictContext:
    """What was run. ``labels``: per class, None if every image keeps its label."""

    data: str
    labels: int | None
    trials: int
    minutes: float
    command: str
    pictures: tuple[str, ...] = ()


def render_verdict(
    context: VerdictContext, table: Table, verdicts: Sequence[RowVerdict], curve: LabelCurve | None
) -> str:
    """The page (``templates/verdict.md.j2``)."""
    fmt, steps = TextFormat(table.metric), attribution(table, table.spec.columns[0])
    columns = list(zip(*curve.values.values(), strict=True)) if curve is not None else []
    means = [fmt.value(sum(column) / len(column)) for column in columns]
    page = render_markdown(replace(table, spec=replace(table.spec, ablations={})))
    values = {
        "context": context,
        "look": table.spec.look,
        "helps": [one.gain.row for one in verdicts if one.gain.claim == "better"],
        "worse": [one.gain.row for one in verdicts if one.gain.claim == "worse"],
        "gains": markdown_grid(_GAINS, [_gain(one, fmt) for one in verdicts]),
        "equivalents": any(one.label_equivalent is not None for one in verdicts),
        "attribution": markdown_grid(steps.header, steps.rows) if steps.rows else "",
        "curve": markdown_grid([str(n) for n in curve.labels], [means]) if curve is not None and means else "",
        "table": page.replace("## ", "### ", 1),
    }
    return render("verdict.md.j2", values).rstrip() + "\n"


def _gain(one: RowVerdict, fmt: TextFormat) -> tuple[str, ...]:
    return (
        one.gain.row,
        fmt.difference(one.gain, with_p=False),
        one.gain.against or "-",
        "-" if one.gain.detectable is None else f"{fmt.value(one.gain.detectable)} {fmt.unit}",
        _equivalent(one.label_equivalent),
        "-" if math.isnan(one.cost) else f"{one.cost:.1f} x",
        render("row_verdict.txt.j2", {"one": one}),
    )


def _equivalent(labels: LabelEquivalent | None) -> str:
    if labels is None:
        return "-"
    ends = "" if labels.low is None or labels.high is None else f" [{_labels(labels.low)}, {_labels(labels.high)}]"
    return _labels(labels.labels) + ends


def _labels(number: float) -> str:
    """Two significant digits."""
    if number in (0, math.inf):
        return "more than all tried" if number else "fewer than any tried"
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):.{max(0, digits)}f}"

"""The verdict as one Markdown page: what helps, how much, its equivalent in labels, its origin and its cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trigan.reports.figures import render
from trigan.tables.layout.blocks import attribution
from trigan.tables.layout.formatting import TextFormat, join_names
from trigan.tables.layout.text import markdown_grid, render_markdown
from trigan.tables.table import Table
from trigan.tables.verdict import LabelCurve, LabelEquivalent, RowVerdict

_GAINS_HEADER = (
    "row",
    "gain",
    "baseline",
    "detectable gain",
    "label equivalent (per class)",
    "relative FLOPs",
    "verdict",
)


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
    context: VerdictContext, table: Table, verdicts: Sequence[RowVerdict], curve: LabelCurve | None, decimals: int = 1
) -> str:
    """The page (``templates/verdict.md.j2``)."""
    fmt = TextFormat(table.metric, decimals)
    steps = attribution(table, fmt, table.spec.columns[0], "")
    columns = list(zip(*curve.values.values(), strict=True)) if curve is not None else []
    means = [fmt.value(sum(column) / len(column)) for column in columns]
    values = {
        "context": context,
        "answer": _answer(verdicts, context.trials),
        "gains": markdown_grid(_GAINS_HEADER, [_gain(one, fmt) for one in verdicts]),
        "equivalents": any(one.label_equivalent is not None for one in verdicts),
        "attribution": markdown_grid(steps.header, steps.rows) if steps.rows else "",
        "curve": markdown_grid([str(n) for n in curve.labels], [means]) if curve is not None and means else "",
        "table": render_markdown(replace(table, spec=replace(table.spec, ablations={})), decimals).replace(
            "## ", "### ", 1
        ),
    }
    return render("verdict.md.j2", values).rstrip() + "\n"


def _answer(verdicts: Sequence[RowVerdict], trials: int) -> str:
    if trials < 5:
        return (
            f"Not decided: with {trials} trial{'s' if trials > 1 else ''} no interval can be given, and it takes five. "
            "The means below are what there is; give it more minutes."
        )
    helps = [one.row for one in verdicts if one.helps]
    worse = [one.row for one in verdicts if one.resolved and not one.helps]
    first = "Shown to help" if helps else "No GAN strategy is shown to help"
    return (
        f"{first}, over the strongest baseline that used the same images{f': {join_names(helps)}' if helps else ''}."
        + (f" Shown to be worse than it: {join_names(worse)}." if worse else "")
    )


def _gain(one: RowVerdict, fmt: TextFormat) -> tuple[str, ...]:
    caution = (
        f"; in {one.runs_without_samples} of its runs no sample passed the filters, and only real images were used"
    )
    return (
        one.row,
        fmt.difference(one.gain, with_p=False),
        one.gain.against or "-",
        "-" if one.detectable is None else f"{fmt.value(one.detectable)} {fmt.unit}",
        _equivalent(one.label_equivalent),
        "-" if math.isnan(one.cost) else f"{one.cost:.1f} x",
        _verdict(one) + (caution if one.runs_without_samples else ""),
    )


def _equivalent(labels: LabelEquivalent | None) -> str:
    if labels is None:
        return "-"
    text = _labels(labels.labels)
    if labels.low is None or labels.high is None:
        return text
    return f"{text} [{_labels(labels.low)}, {_labels(labels.high)}]"


def _labels(number: float) -> str:
    """Two significant digits."""
    if math.isinf(number):
        return "more than all tried"
    if number == 0:
        return "fewer than any tried"
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):.{max(0, digits)}f}"


def _verdict(one: RowVerdict) -> str:
    if one.gain.reason:
        return f"not compared: {one.gain.reason}"
    if one.resolved:
        return "helps" if one.helps else "worse"
    if not one.gain.has_interval:
        return "not decided: fewer than five trials"
    if one.trials_needed:
        return f"not resolved: about {one.trials_needed} more trials would"
    return "not resolved: no practical number of trials would"

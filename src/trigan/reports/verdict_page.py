"""The verdict as one Markdown page: what helps, how much, what it is worth, where it comes from, what it costs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from trigan.tables.layout.blocks import attribution
from trigan.tables.layout.formatting import TextFormat, join_names
from trigan.tables.layout.text import markdown_grid, render_markdown
from trigan.tables.table import Table
from trigan.tables.verdict import LabelCurve, LabelEquivalent, RowVerdict


@dataclass(frozen=True)
class VerdictContext:
    """What was run, for the page's head and foot. ``labels``: per class, None where every image has its own."""

    data: str
    labels: int | None
    trials: int
    minutes: float
    command: str
    pictures: tuple[str, ...] = ()


def render_verdict(
    circumstances: VerdictContext,
    table: Table,
    found: Sequence[RowVerdict],
    curve: LabelCurve | None,
    decimals: int = 1,
) -> str:
    """The page."""
    fmt = TextFormat(table.metric, decimals)
    budget = f"{circumstances.labels} labels per class" if circumstances.labels else "all labels"
    parts = [
        f"# Verdict: {circumstances.data}, {budget}",
        f"**{_answer(found, circumstances.trials)}**",
        _gains(found, fmt),
        "\n".join(f"- {line}" for line in _explained(found, circumstances)),
        *(f"![{text}]({name})" for name, text in _pictures(circumstances)),
        "## Where it comes from",
        "Each step is the difference between two rows, the one with and the one without what it adds; rows that use "
        "unlabelled images are compared with rows that do not, since that is the question here.",
        *(markdown_grid(block.header, block.rows) for block in attribution(table, fmt, table.spec.columns[0], "")),
        *_curve(curve, fmt),
        "## What was run",
        _circumstances(circumstances),
        render_markdown(replace(table, spec=replace(table.spec, ablations={})), decimals).replace("## ", "### ", 1),
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def _answer(found: Sequence[RowVerdict], trials: int) -> str:
    helps = [one.row for one in found if one.helps]
    worse = [one.row for one in found if one.resolved and not one.helps]
    if trials < 5:
        return (
            f"Not decided: with {trials} trial{'s' if trials > 1 else ''} no interval can be given, and it takes five. "
            "The means below are what there is; give it more minutes."
        )
    if helps:
        first = f"Shown to help, over the strongest baseline that used the same images: {join_names(helps)}."
    else:
        first = "No GAN strategy is shown to help, over the strongest baseline that used the same images."
    return first + (f" Shown to be worse than it: {join_names(worse)}." if worse else "")


def _gains(found: Sequence[RowVerdict], fmt: TextFormat) -> str:
    header = ("row", "gain", "baseline", "detectable gain", "label equivalent (per class)", "relative FLOPs", "verdict")
    rows = [
        (
            one.row,
            fmt.difference(one.gain, with_p=False),
            one.gain.against or "-",
            "-" if one.detectable is None else f"{fmt.value(one.detectable)} {fmt.unit}",
            _worth(one.label_equivalent),
            "-" if math.isnan(one.cost) else f"{one.cost:.1f} x",
            _verdict(one) + _caution(one),
        )
        for one in found
    ]
    return markdown_grid(header, rows)


def _worth(worth: LabelEquivalent | None) -> str:
    if worth is None:
        return "-"
    text = _labels(worth.labels)
    if worth.low is None or worth.high is None:
        return text
    return f"{text} [{_labels(worth.low)}, {_labels(worth.high)}]"


def _labels(number: float) -> str:
    if math.isinf(number):
        return "more than all tried"
    if number == 0:
        return "fewer than any tried"
    exponent = math.floor(math.log10(number))
    return f"{round(number, 1 - exponent):.{max(0, 1 - exponent)}f}"


def _verdict(one: RowVerdict) -> str:
    if one.gain.reason:
        return f"not compared: {one.gain.reason}"
    if one.resolved:
        return "helps" if one.helps else "worse"
    if one.gain.kind not in ("exploratory", "headline"):
        return "not decided: fewer than five trials"
    if one.trials_needed:
        return f"not resolved: about {one.trials_needed} more trials would"
    return "not resolved: no practical number of trials would"


def _caution(one: RowVerdict) -> str:
    if not one.runs_without_samples:
        return ""
    return f"; in {one.runs_without_samples} of its runs no sample passed the filters, and only real images were used"


def _explained(found: Sequence[RowVerdict], circumstances: VerdictContext) -> Iterator[str]:
    yield "gain: in points, within trials, with its 95 % interval (its range below five trials)."
    yield "detectable gain: a smaller true gain would mostly go undetected with these trials."
    if any(one.label_equivalent is not None for one in found):
        yield (
            "label equivalent: how many labels per class the classifier with classic augmentation needs to score as "
            "this row does, read off its curve below (two digits; where the curve falls it is taken as level); in "
            "brackets the 95 % bootstrap interval over trials."
        )
    else:
        yield "Label equivalents are not given: the baseline cannot be given more labels."
    yield "relative FLOPs: counted FLOPs of all stages, divided by those of the classifier with classic augmentation."


def _pictures(circumstances: VerdictContext) -> Iterator[tuple[str, str]]:
    for name in circumstances.pictures:
        yield name, "Scores of all rows, every trial a dot"


def _curve(curve: LabelCurve | None, fmt: TextFormat) -> Iterator[str]:
    if curve is None or not curve.values:
        return
    means = [sum(column) / len(column) for column in zip(*curve.values.values(), strict=True)]
    yield "## Accuracy of the baseline by number of labels"
    yield "The classifier with classic augmentation, by labels per class (means over the same trials):"
    yield markdown_grid([str(n) for n in curve.labels], [[fmt.value(mean) for mean in means]])


def _circumstances(one: VerdictContext) -> str:
    return (
        f"`{one.command}`: {one.trials} trial{'s' if one.trials > 1 else ''} in {one.minutes:.0f} minutes. Every row "
        "has half the usual width and short fits, the same for all, so that trials are many: a verdict on these "
        "images with this classifier, and no statement on what days of training would give."
    )

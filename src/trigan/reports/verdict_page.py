"""The verdict as one Markdown page: what helps, how much, what it is worth, where it comes from, what it costs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from trigan.tables.layout.blocks import attribution
from trigan.tables.layout.text import markdown_grid, render_markdown
from trigan.tables.layout.wording import Wording, listing
from trigan.tables.table import Table
from trigan.tables.verdict_findings import Curve, Equivalent, Finding


@dataclass(frozen=True)
class Circumstances:
    """What was run, for the page's head and foot. ``labels``: per class, None where every image has its own."""

    data: str
    labels: int | None
    trials: int
    minutes: float
    command: str
    pictures: tuple[str, ...] = ()


def render_verdict(
    circumstances: Circumstances, table: Table, found: Sequence[Finding], curve: Curve | None, decimals: int = 1
) -> str:
    """The page."""
    wording = Wording(table.metric, decimals)
    budget = f"{circumstances.labels} labels per class" if circumstances.labels else "all labels"
    parts = [
        f"# Verdict: {circumstances.data}, {budget}",
        f"**{_answer(found, circumstances.trials)}**",
        _gains(found, wording),
        "\n".join(f"- {line}" for line in _explained(found, circumstances)),
        *(f"![{text}]({name})" for name, text in _pictures(circumstances)),
        "## Where it comes from",
        "Each step is the difference between two rows, the one with and the one without what it adds; rows that see "
        "unlabelled images are compared with rows that do not, since that is the question here.",
        *(markdown_grid(block.header, block.rows) for block in attribution(table, wording, table.spec.columns[0], "")),
        *_curve(curve, wording),
        "## What was run",
        _circumstances(circumstances),
        render_markdown(replace(table, spec=replace(table.spec, chains={})), decimals).replace("## ", "### ", 1),
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def _answer(found: Sequence[Finding], trials: int) -> str:
    helps = [one.row for one in found if one.helps]
    worse = [one.row for one in found if one.resolved and not one.helps]
    if trials < 5:
        return (
            f"Not decided: with {trials} trial{'s' if trials > 1 else ''} no interval can be given, and it takes five. "
            "The means below are what there is; give it more minutes."
        )
    if helps:
        first = f"Shown to help, over the strongest baseline that saw the same images: {listing(helps)}."
    else:
        first = "No way of using a GAN is shown to help, over the strongest baseline that saw the same images."
    return first + (f" Shown to be worse than it: {listing(worse)}." if worse else "")


def _gains(found: Sequence[Finding], wording: Wording) -> str:
    header = ("strategy", "gain", "over", "seen from", "worth in labels per class", "operations", "verdict")
    rows = [
        (
            one.row,
            wording.difference(one.gain, with_p=False),
            one.gain.against or "-",
            "-" if one.detectable is None else f"{wording.value(one.detectable)} {wording.unit}",
            _worth(one.worth),
            "-" if math.isnan(one.cost) else f"{one.cost:.1f} x",
            _verdict(one) + _caution(one),
        )
        for one in found
    ]
    return markdown_grid(header, rows)


def _worth(worth: Equivalent | None) -> str:
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


def _verdict(one: Finding) -> str:
    if one.gain.reason:
        return f"not compared: {one.gain.reason}"
    if one.resolved:
        return "helps" if one.helps else "worse"
    if one.gain.kind not in ("exploratory", "headline"):
        return "not decided: fewer than five trials"
    if one.more:
        return f"not resolved: about {one.more} more trials would"
    return "not resolved: no practical number of trials would"


def _caution(one: Finding) -> str:
    if not one.without_samples:
        return ""
    return f"; in {one.without_samples} of its runs no sample passed the filters, and C saw real images alone"


def _explained(found: Sequence[Finding], circumstances: Circumstances) -> Iterator[str]:
    yield "gain: in points, within trials, with its 95 % interval (its range below five trials)."
    yield "seen from: a true gain smaller than this would mostly have gone unseen with these trials."
    if any(one.worth is not None for one in found):
        yield (
            "worth in labels: how many labels per class the classifier with classic augmentation needs to score as "
            "this row does, read off its curve below (two digits; where the curve falls it is taken as level); in "
            "brackets the 95 % bootstrap interval over trials."
        )
    else:
        yield "Label-equivalents are not given: there are no further labels to give to a baseline."
    yield "operations: counted, of all stages, over those of the classifier with classic augmentation."


def _pictures(circumstances: Circumstances) -> Iterator[tuple[str, str]]:
    for name in circumstances.pictures:
        yield name, "Scores of all rows, every trial a dot"


def _curve(curve: Curve | None, wording: Wording) -> Iterator[str]:
    if curve is None or not curve.values:
        return
    means = [sum(column) / len(column) for column in zip(*curve.values.values(), strict=True)]
    yield "## What labels alone are worth"
    yield "The classifier with classic augmentation, by labels per class (means over the same trials):"
    yield markdown_grid([str(n) for n in curve.labels], [[wording.value(mean) for mean in means]])


def _circumstances(one: Circumstances) -> str:
    return (
        f"`{one.command}`: {one.trials} trial{'s' if one.trials > 1 else ''} in {one.minutes:.0f} minutes. Every row "
        "has half the usual width and short fits, the same for all, so that trials are many: a verdict on these "
        "images with this classifier, and no statement on what days of training would give."
    )

"""Charts as inline SVG: pure functions of numbers. Colours come from the page, so that light and dark both are read."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trigan.tables.layout.formatting import format_images
from trigan.tables.layout.html import escape

#: Colours of the page's style; lines differ by their dashes and marks as well, for those who tell few colours apart.
COLOURS = 6
_DASHES = ("", "7 3", "2 3", "9 3 2 3")
_MARKS = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True)
class Axis:
    """A range of numbers with ticks (value, text); ``log`` for a logarithmic one."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 at the low end to 1 at the high one."""
        low, high, place = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (place - low) / (high - low)


@dataclass(frozen=True)
class Frame:
    """Where a chart's two axes lie on a drawing of width x height pixels."""

    x: Axis
    y: Axis
    width: int = 440
    height: int = 270
    left: int = 46
    right: int = 14
    top: int = 24
    bottom: int = 40

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point of the chart on the drawing."""
        across = self.left + self.x.share(x) * (self.width - self.left - self.right)
        return across, self.height - self.bottom - self.y.share(y) * (self.height - self.top - self.bottom)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def tick_text(value: float) -> str:
    """A tick's number without an exponent where there is room: ``0.25``, ``90``."""
    return f"{value:.6g}".replace("-0", "0", 1) if value == 0 else f"{value:.6g}"


def linear_axis(values: Iterable[float], label: str, pad: float = 0.05) -> Axis:
    """An axis that holds all values, its ticks at round numbers."""
    found = list(values)
    low, high = min(found), max(found)
    room = (high - low) * pad or max(abs(high) * 0.05, 1e-3)
    low, high = low - room, high + room
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    return Axis(low, high, tuple((i * step, tick_text(round(i * step, 10))) for i in range(first, last + 1)), label)


def images_axis(high: float, label: str) -> Axis:
    """An axis of counts of images from 0 to ``high``."""
    axis = linear_axis([0.0, high], label, pad=0.0)
    return Axis(0.0, high, tuple((value, format_images(value)) for value, _ in axis.ticks if 0 <= value <= high), label)


def chart(frame: Frame, marks: Iterable[str], alt: str) -> str:
    """The drawing: axes with light rules, the marks on them, and what it shows in words."""
    left, right = frame.left, frame.width - frame.right
    top, bottom = frame.top, frame.height - frame.bottom
    parts = []
    for value, text in frame.y.ticks:
        _, y = frame.at(frame.x.low, value)
        parts.append(f'<path class="rule" d="M{left} {number(y)}H{right}"/>')
        parts.append(label(left - 6, y + 4, text, "soft", "end"))
    for value, text in frame.x.ticks:
        x, _ = frame.at(value, frame.y.low)
        parts.append(f'<path class="rule" d="M{number(x)} {top}V{bottom}"/>')
        parts.append(label(x, bottom + 16, text, "soft", "middle"))
    parts.append(label(2, 12, frame.y.label, "soft"))
    parts.append(label(right, frame.height - 6, frame.x.label, "soft", "end"))
    return svg(frame.width, frame.height, [*parts, *marks], alt)


def svg(width: int, height: int, parts: Iterable[str], alt: str) -> str:
    """SVG of a size, that a reader who does not see it is told about by ``alt``."""
    inner = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(alt)}">\n{inner}\n</svg>'
    )


def label(x: float, y: float, text: str, kind: str = "", anchor: str = "start", turned: int = 0) -> str:
    """A text at a place, turned about it by so many degrees."""
    kinds = f' class="{kind}"' if kind else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    turn = f' transform="rotate({turned} {number(x)} {number(y)})"' if turned else ""
    return f'<text x="{number(x)}" y="{number(y)}"{kinds}{anchored}{turn}>{escape(text)}</text>'


def stroke(path: str, index: int, width: float = 2.0, opacity: float = 1.0, dash: str = "") -> str:
    """A path that is drawn and not filled, in the colour of the ``index``-th series."""
    faint = f' opacity="{opacity:g}"' if opacity < 1 else ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    look = f'class="c{index % COLOURS}" fill="none" stroke="currentColor" stroke-width="{width:g}"'
    return f'<path {look}{faint}{dashed} d="{path}"/>'


def line(points: Sequence[tuple[float, float]], index: int) -> str:
    """A line through places of the drawing, in the look of the ``index``-th series."""
    path = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return stroke(f"M{path}", index, 1.8, dash=_DASHES[index % len(_DASHES)])


def mark(x: float, y: float, index: int, radius: float = 4.0, hollow: bool = False, title: str = "") -> str:
    """A mark at a place, its shape and colour those of the ``index``-th series; ``title`` shows under a pointer."""
    shape = _MARKS[index % len(_MARKS)]
    r = radius * (1.0 if shape == "circle" else 0.9 if shape == "square" else 1.25)
    corners = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "triangle": ((0, -r), (r, 0.8 * r), (-r, 0.8 * r)),
        "diamond": ((0, -r), (r, 0), (0, r), (-r, 0)),
    }
    told = f"<title>{escape(title)}</title>" if title else ""
    look = f'class="c{index % COLOURS} {"over" if hollow else "own"}" stroke="currentColor" stroke-width="1.2"'
    if shape == "circle":
        return f'<circle {look} cx="{number(x)}" cy="{number(y)}" r="{number(r)}">{told}</circle>'
    path = "L".join(f"{number(x + dx)} {number(y + dy)}" for dx, dy in corners[shape])
    return f'<path {look} d="M{path}Z">{told}</path>'


def cross(x: float, y: float, index: int, title: str = "") -> str:
    """The mark of a run that diverged."""
    told = f"<title>{escape(title)}</title>" if title else ""
    return f"<g>{told}{stroke(f'M{number(x - 4)} {number(y - 4)}l8 8m0 -8l-8 8', index)}</g>"


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """What marks mean: (SVG parts on 18 x 12 pixels, words)."""
    items = "".join(
        f'<li><svg viewBox="0 0 18 12" width="18" height="12" aria-hidden="true">{sign}</svg>{escape(words)}</li>'
        for sign, words in entries
    )
    return f'<ul class="key">{items}</ul>'


def figure(picture: str, caption: str, title: str = "") -> str:
    """A picture under its title, with its words."""
    head = f'<p class="name">{escape(title)}</p>\n' if title else ""
    said = f"\n<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>\n{head}{picture}{said}\n</figure>"


def panels(figures: Iterable[str]) -> str:
    """Small figures beside each other, as many as the page is wide."""
    inner = "\n".join(figures)
    return f'<div class="panels">\n{inner}\n</div>'

"""Charts as inline SVG: pure functions of numbers. Colours come from the page's style, in light and dark."""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from trigan.tables.layout.formatting import format_images

#: Colours of the page's style; lines differ in dashes and marks too, for readers who cannot tell colours apart.
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
        """Position of a value, from 0 at the low end to 1 at the high one."""
        low, high, position = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (position - low) / (high - low)


@dataclass(frozen=True)
class Frame:
    """Two axes on a drawing of width x height pixels."""

    x: Axis
    y: Axis
    width: int = 440
    height: int = 270
    left: int = 46
    right: int = 14
    top: int = 24
    bottom: int = 40

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixel coordinates of a point."""
        across = self.left + self.x.share(x) * (self.width - self.left - self.right)
        return across, self.height - self.bottom - self.y.share(y) * (self.height - self.top - self.bottom)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def tick_text(value: float) -> str:
    """A tick's number, with an exponent only if it is large or small: ``0.25``, ``90``."""
    return f"{value or 0.0:.6g}"


def linear_axis(values: Iterable[float], label: str, pad: float = 0.05) -> Axis:
    """An axis that contains all values, with ticks at round numbers."""
    numbers = list(values)
    low, high = min(numbers), max(numbers)
    room = (high - low) * pad or max(abs(high) * 0.05, 1e-3)
    low, high = low - room, high + room
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    return Axis(low, high, tuple((i * step, tick_text(round(i * step, 10))) for i in range(first, last + 1)), label)


def images_axis(high: float, label: str) -> Axis:
    """An axis of counts of images from 0 to ``high``."""
    ticks = linear_axis([0.0, high], label, pad=0.0).ticks
    return Axis(0.0, high, tuple((value, format_images(value)) for value, _ in ticks if 0 <= value <= high), label)


def chart(frame: Frame, marks: Iterable[str], alt: str) -> Markup:
    """A chart: axes with light rules, the marks, and a description ``alt``."""
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


def svg(width: int, height: int, parts: Iterable[str], alt: str) -> Markup:
    """SVG of a size in pixels, with a description; an icon without one is hidden from screen readers."""
    role = f'role="img" aria-label="{escape(alt)}"' if alt else 'aria-hidden="true"'
    inner = "\n".join(parts)
    return Markup(f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" {role}>\n{inner}\n</svg>')


def icon(*parts: str) -> Markup:
    """A sign of a key, on 18 x 12 pixels."""
    return svg(18, 12, parts, "")


def line_icon(index: int, *parts: str) -> Markup:
    """The line of the ``index``-th series in a key, with further parts on it."""
    return icon(line([(0, 6), (18, 6)], index), *parts)


def image(content: bytes, kind: str, size: tuple[int, int], alt: str, css: str = "") -> Markup:
    """A picture inside the page; ``kind`` is its media type after ``image/``."""
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    look = f'class="{css}" ' if css else ""
    return Markup(f'<img {look}src="{source}" width="{size[0]}" height="{size[1]}" alt="{escape(alt)}">')


def label(x: float, y: float, text: str, css: str = "", anchor: str = "start", degrees: int = 0) -> str:
    """A text at a point, rotated about it."""
    look = f' class="{css}"' if css else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    turn = f' transform="rotate({degrees} {number(x)} {number(y)})"' if degrees else ""
    return f'<text x="{number(x)}" y="{number(y)}"{look}{anchored}{turn}>{escape(text)}</text>'


def stroke(path: str, index: int, width: float = 2.0, opacity: float = 1.0, dash: str = "") -> str:
    """A path in the colour of the ``index``-th series, not filled."""
    faint = f' opacity="{opacity:g}"' if opacity < 1 else ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    look = f'class="c{index % COLOURS}" fill="none" stroke="currentColor" stroke-width="{width:g}"'
    return f'<path {look}{faint}{dashed} d="{path}"/>'


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """The path through pixel coordinates."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def line(points: Iterable[tuple[float, float]], index: int) -> str:
    """A line through pixel coordinates, in the style of the ``index``-th series."""
    return stroke(polyline(points), index, 1.8, dash=_DASHES[index % len(_DASHES)])


def mark(x: float, y: float, index: int, radius: float = 4.0, hollow: bool = False, title: str = "") -> str:
    """A mark in the shape and colour of the ``index``-th series; ``title`` is its tooltip."""
    shape = _MARKS[index % len(_MARKS)]
    r = radius * (1.0 if shape == "circle" else 0.9 if shape == "square" else 1.25)
    corners: dict[str, Sequence[tuple[float, float]]] = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "triangle": ((0, -r), (r, 0.8 * r), (-r, 0.8 * r)),
        "diamond": ((0, -r), (r, 0), (0, r), (-r, 0)),
    }
    look = f'class="c{index % COLOURS} {"over" if hollow else "own"}" stroke="currentColor" stroke-width="1.2"'
    if shape == "circle":
        return f'<circle {look} cx="{number(x)}" cy="{number(y)}" r="{number(r)}">{_tooltip(title)}</circle>'
    path = polyline((x + dx, y + dy) for dx, dy in corners[shape])
    return f'<path {look} d="{path}Z">{_tooltip(title)}</path>'


def cross(x: float, y: float, index: int, title: str = "") -> str:
    """The mark of a diverged run."""
    return f"<g>{_tooltip(title)}{stroke(f'M{number(x - 4)} {number(y - 4)}l8 8m0 -8l-8 8', index)}</g>"


def _tooltip(title: str) -> str:
    return f"<title>{escape(title)}</title>" if title else ""

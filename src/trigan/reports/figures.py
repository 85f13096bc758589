"""The parts of a report's page: sections, figures, the numbers of charts, and the templates that print them."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from trigan.tables.layout.formatting import format_images
from trigan.tables.layout.templating import environment


@dataclass(frozen=True)
class Figure:
    """A picture and its texts.

    Attributes:
        drawing: the macro of ``templates/drawings.html.j2`` that draws ``data``.
        alt: the picture in words.
        key: (``line`` or ``mark``, index of the series, its meaning).
        scroll: label of a picture that a narrow page scrolls; empty: the page shrinks it.
    """

    drawing: str
    data: Mapping[str, Any]
    alt: str
    caption: str = ""
    title: str = ""
    key: Sequence[tuple[str, int, str]] = ()
    scroll: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a section: ``panels`` are small figures side by side, ``numbered`` a list, ``note`` a paragraph."""

    heading: str = ""
    intro: str = ""
    panels: Sequence[Figure] = ()
    figures: Sequence[Figure] = ()
    numbered: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A section of the page: its anchor, its heading, and HTML."""

    anchor: str
    title: str
    body: str


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


@dataclass(frozen=True)
class Dot:
    """A trial at pixel coordinates; ``title`` is its tooltip."""

    at: tuple[float, float]
    radius: float
    title: str = ""
    hollow: bool = False
    diverged: bool = False


@dataclass(frozen=True)
class Series:
    """A line through pixel coordinates, with dots and vertical whiskers (x, low, high)."""

    line: Sequence[tuple[float, float]] = ()
    dots: Sequence[Dot] = ()
    whiskers: Sequence[tuple[float, float, float]] = ()


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:z.1f}".removesuffix(".0")


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


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """The SVG path through pixel coordinates."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def picture_address(picture: Image, kind: str) -> str:
    """A picture as a ``data:`` address; ``kind`` is ``png`` or ``jpeg``."""
    content = io.BytesIO()
    picture.save(content, kind, optimize=kind == "png", quality=88, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


#: The templates of reports, with the filters of charts.
TEMPLATES = environment(Path(__file__).parent / "templates")
TEMPLATES.filters |= {"px": number, "polyline": polyline}


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of ``reports/templates``, filled in."""
    return TEMPLATES.get_template(template).render(values)

"""The parts of a report's page: sections, their figures, and the templates that print them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigan.reports.chart import number, polyline
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


#: The templates of reports, with the filters of charts.
TEMPLATES = environment(Path(__file__).parent / "templates")
TEMPLATES.filters |= {"px": number, "polyline": polyline}


def render(template: str, values: Mapping[str, Any]) -> str:
    """A template of ``reports/templates``, filled in."""
    return TEMPLATES.get_template(template).render(values)

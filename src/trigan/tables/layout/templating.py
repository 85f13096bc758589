"""The Jinja environment of tables and reports: templates lie beside the code, and HTML is escaped."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from trigan.tables.layout.formatting import join_names

_TEMPLATES = Path(__file__).parent / "templates"
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "FLOP": 1.0, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15}
_NUMBER = re.compile(r"(?:< )?([+-]?\d+(?:\.\d+)?) ?(k|M|G|[MGTP]?FLOP)?(?![\w.])")
#: Characters that HTML cannot contain: controls, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@cache
def environment(*folders: Path) -> Environment:
    """Templates of some folders and of this room; values are escaped in ``*.html.j2``."""
    made = Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=select_autoescape(("html.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"sort_key": sort_key, "join_names": join_names}
    made.globals["wordbreak"] = Markup(";<wbr> ")
    return made


def render_page(name: str, values: Mapping[str, Any], templates: Environment | None = None) -> str:
    """The page of an HTML template; characters that HTML cannot contain become U+FFFD."""
    page = (templates or environment()).get_template(name).render(values)
    return _UNPRINTABLE.sub("\ufffd", page) + "\n"


def sort_key(text: str) -> str | None:
    """The number by which a text is sorted, with its unit multiplied out; None for a text that is no number."""
    found = _NUMBER.match(text)
    return f"{float(found[1]) * _UNITS.get(found[2], 1.0):.12g}" if found else None

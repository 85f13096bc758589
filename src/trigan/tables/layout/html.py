"""A table as an HTML page that needs no server and no network: the same bytes for the same table."""

import html
import re
from collections.abc import Mapping
from pathlib import Path

from trigan.tables.layout.blocks import Block, blocks
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.table import Table

_HERE = Path(__file__).parent
#: Nothing may be fetched, whatever a name in a record says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "FLOP": 1.0, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15}
_NUMBER = re.compile(r"(?:< )?([+-]?\d+(?:\.\d+)?) ?(k|M|G|[MGTP]?FLOP)?(?![\w.])")
#: What HTML has no character for: controls, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escape(text: object) -> str:
    """A text as HTML's text or attribute."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(text)))


def document(title: str, body: str) -> str:
    """A whole page around ``body``, with the style and the script in it."""
    style, script = ((_HERE / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">Skip to the content</a>\n'
        f"{body}\n<script>\n{script}\n</script>\n</body>\n</html>\n"
    )


def grid(block: Block, links: Mapping[tuple[int, int], str] | None = None) -> str:
    """A block as a table that sorts by a press on a column's header.

    Args:
        links: (row, column) of texts that lead somewhere on the page, and where.
    """
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in block.header)
    lines = []
    for i, row in enumerate(block.rows):
        texts = [_text(block, i, j, (links or {}).get((i, j))) for j in range(len(row))]
        looks = [' class="tight"' if j in block.tight else "" for j in range(len(row))]
        data = "".join(f"<td{looks[j]}{_key(row[j])}>{texts[j]}</td>" for j in range(1, len(row)))
        lines.append(f'<tr><th scope="row">{texts[0]}</th>{data}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(block.title)}">\n'
        f'<table class="sortable">\n<caption><span>{escape(block.title)}</span></caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _text(block: Block, i: int, j: int, link: str | None) -> str:
    """One text of a block; of a bold one, what stands before the semicolon is the number."""
    number, semicolon, rest = block.rows[i][j].partition(";")
    shown = f"<strong>{escape(number)}</strong>" if (i, j) in block.bold else escape(number)
    if link:
        shown = f'<a href="{escape(link)}">{shown}</a>'
    # A text of a tight column may be broken after a semicolon.
    return shown + escape(semicolon + rest).replace("; ", ";<wbr> ")


def _key(text: str) -> str:
    """The number that a text is sorted by, its unit multiplied out, as an attribute; nothing where it is no number."""
    found = _NUMBER.match(text)
    return f' data-key="{float(found[1]) * _UNITS.get(found[2], 1.0):.12g}"' if found else ""


def notes_list(table: Table, fmt: TextFormat) -> str:
    """The notes under a table, as a list."""
    items = "\n".join(f"<li>{escape(note)}</li>" for note in footnotes(table, fmt, best_mark="bold"))
    return f'<ul class="notes">\n{items}\n</ul>'


def render_html(table: Table, decimals: int = 1) -> str:
    """The table as a page: its blocks, the paragraph in plain words, and the notes."""
    fmt = TextFormat(table.metric, decimals)
    grids = "\n".join(grid(block) for block in blocks(table, fmt))
    return document(
        table.spec.title,
        f'<main id="main">\n<h1>{escape(table.spec.title)}</h1>\n<p>{escape(summary_paragraph(table, fmt))}</p>\n'
        f"{grids}\n{notes_list(table, fmt)}\n</main>",
    )

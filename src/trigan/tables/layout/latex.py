"""A table as LaTeX: a fragment of booktabs tables that compiles in any article, with no other package."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from trigan.tables.layout.block import Block
from trigan.tables.layout.blocks import blocks, column_widths, natural_widths, split_to_width
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.templating import environment
from trigan.tables.table import Table

#: Characters in a line of an article in \footnotesize, and lines on a page of it.
PAGE, LINES = 80, 45
#: LaTeX's limit of floats that wait for a page.
MAX_FLOATS = 16

_LETTERS = yaml.safe_load((Path(__file__).parent / "templates/latex_letters.yaml").read_text(encoding="utf-8"))
#: A hyphen that is a minus sign: before a digit, and not inside a word or a date.
_SIGN = re.compile(r"(?<![\w.-])-(?=\d)")
#: An opening quote: before a word.
_OPENING = re.compile(r'(?<![^\s(\[])"(?=\S)')


def render_latex(table: Table) -> str:
    """The table's blocks as ``table`` environments, then the summary and the footnotes (``templates/table.tex.j2``).

    A block that is too wide or too long for a page is printed in parts.
    """
    parts = [page for block in blocks(table) for part in split_to_width(block, PAGE) for page in _pages(part, LINES)]
    values = {
        "parts": [_environment(part) for part in parts],
        "max_floats": MAX_FLOATS,
        "summary": escape(summary_paragraph(table)),
        "footnotes": map(escape, footnotes(table, best_mark="bold")),
    }
    return environment().get_template("table.tex.j2").render(values) + "\n"


def _pages(block: Block, limit: int) -> Iterator[Block]:
    """The block, or if its rows take more than ``limit`` lines, parts of it that do not."""
    columns = column_widths(block, PAGE)
    start, used = 0, 0
    for index, row in enumerate(block.rows):
        lines = max(len(textwrap.wrap(text, width)) for text, width in zip(row, columns, strict=True))
        if used + lines > limit and index > start:
            yield _rows(block, start, index)
            start, used = index, 0
        used += lines
    yield _rows(block, start, len(block.rows))


def _rows(block: Block, start: int, stop: int) -> Block:
    bold = frozenset((i - start, j) for i, j in block.bold if start <= i < stop)
    title = block.title if start == 0 else f"{block.title.removesuffix(' (continued)')} (continued)"
    return replace(block, title=title, rows=block.rows[start:stop], bold=bold)


def _environment(block: Block) -> dict[str, Any]:
    """The parts of a ``table`` environment: title, column types, header and rows."""
    columns = column_widths(block, PAGE)
    wrapped = [width < wish for width, wish in zip(columns, natural_widths(block), strict=True)]

    def line(texts: tuple[str, ...], row: int | None = None) -> str:
        cells = []
        for j, text in enumerate(texts):
            width = columns[j] if wrapped[j] and j in block.tight else None
            made = _strong(text, width) if (row, j) in block.bold else _tied(text, width)
            cells.append(f"\\raggedright {made}" if wrapped[j] else made)
        return " & ".join(cells) + r" \tabularnewline"  # \raggedright gives \\ another meaning

    return {
        "title": escape(block.title),
        # half an em is the width of a digit
        "columns": "".join(
            f"p{{{width / 2:g}em}}" if wrap else "l" for width, wrap in zip(columns, wrapped, strict=True)
        ),
        "header": line(block.header),
        "rows": [line(row, i) for i, row in enumerate(block.rows)],
    }


def _strong(text: str, width: int | None) -> str:
    """The number in bold, and the rest of the text as it is."""
    number, semicolon, rest = text.partition("; ")
    return f"\\textbf{{{_tied(number, width)}}}{semicolon}{_tied(rest, width)}"


def _tied(text: str, width: int | None) -> str:
    """The text escaped; given the ``width`` of its column, pieces that fit are broken only at semicolons."""
    if width is None:
        return escape(text)
    pieces = [escape(piece).replace(" ", "~" if len(piece) <= width else " ") for piece in text.split("; ")]
    return "; ".join(pieces)


def escape(text: str) -> str:
    """Any text as LaTeX that prints it with every engine and encoding; an unknown letter becomes its code point."""
    text = unicodedata.normalize("NFC", text)
    text = _OPENING.sub("\u201c", _SIGN.sub("\u2212", text)).replace('"', "\u201d")
    letters = "".join(_letter(found) for found in text)
    return re.sub("-(?=-)", "-{}", letters)  # two hyphens would become a dash


def _letter(letter: str) -> str:
    if letter in _LETTERS["letters"]:
        return str(_LETTERS["letters"][letter])
    if letter.isascii():
        return letter if letter.isprintable() else " "
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _LETTERS["accents"]:
        return f"\\{_LETTERS['accents'][parts[1]]}{{{parts[0]}}}"
    return f"{{\\ttfamily U+{ord(letter):04X}}}"

"""A table as terminal text, Markdown, CSV and HTML: pure functions, the same bytes for the same table."""

import io
import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trigan.errors import plain_cell, printable
from trigan.tables.layout.block import Block
from trigan.tables.layout.blocks import blocks, brief, column_widths, split_to_width
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.formatting import format_published
from trigan.tables.layout.templating import render_page
from trigan.tables.table import CellKey, Table, Value, cell_data


def render_terminal(table: Table, width: int = 100, colour: bool = False) -> str:
    """The table as text of at most ``width`` columns (80 or more); with ``colour`` also ANSI styles, for a terminal."""
    notes = (Text(note, style="dim") for note in footnotes(table, best_mark="*"))
    return terminal_text([*blocks(table), Text(summary_paragraph(table)), Text(), *notes], width, colour)


def render_brief(table: Table, width: int = 100, colour: bool = False) -> str:
    """One screen of a terminal: what the table shows in words, and its scores; arguments as `render_terminal`."""
    return terminal_text([Text(summary_paragraph(table)), Text(), brief(table)], width, colour)


def terminal_text(parts: Iterable[Block | Text], width: int = 100, colour: bool = False) -> str:
    """Grids and texts, one below the other; width and colour as in `render_terminal`."""
    page = io.StringIO()
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(file=page, width=width, force_terminal=colour, color_system=system, highlight=False, _environ={})
    for part in parts:
        if isinstance(part, Text):
            console.print(part)
        else:
            for piece in split_to_width(part, width):
                console.print(_rich(piece, width))
                console.print()
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def _rich(block: Block, width: int) -> RichTable:
    title = Text(printable(block.title, "\n\t"), "bold", justify="left")
    grid = RichTable(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), show_edge=False)
    for name, columns in zip(block.header, column_widths(block, width), strict=True):
        grid.add_column(name, overflow="fold", width=columns)
    for i, row in enumerate(block.rows):
        grid.add_row(
            *(_starred(text) if (i, j) in block.bold else Text(printable(text, "\n\t")) for j, text in enumerate(row))
        )
    return grid


def _starred(text: str) -> Text:
    """The number in bold with a star, which is visible without styles too; then the rest of the text."""
    number, semicolon, rest = text.partition(";")
    return Text.assemble((f"{number} *", "bold"), semicolon + rest)


def render_markdown(table: Table) -> str:
    """The table as Markdown: its blocks, the summary, and the footnotes as a list."""
    parts = []
    for index, block in enumerate(blocks(table)):
        title = f"{'###' if index else '##'} {escape_markdown(block.title)}"
        parts.append(f"{title}\n\n{markdown_grid(block.header, block.rows, block.bold)}")
    parts.append(escape_markdown(summary_paragraph(table)))
    parts.append("\n".join(f"- {escape_markdown(note)}" for note in footnotes(table, best_mark="bold")))
    return "\n\n".join(parts) + "\n"


def markdown_grid(header: Sequence[str], rows: Iterable[Sequence[str]], bold: Collection[tuple[int, int]] = ()) -> str:
    """A Markdown table of texts, escaped; ``bold`` are (row, column) indices."""

    def cell(i: int, j: int, text: str) -> str:
        number, semicolon, rest = text.partition(";")
        return (
            f"**{escape_markdown(number)}**{semicolon}{escape_markdown(rest)}"
            if (i, j) in bold
            else escape_markdown(text)
        )

    lines = [list(map(escape_markdown, header)), ["---"] * len(header)]
    lines += [[cell(i, j, text) for j, text in enumerate(row)] for i, row in enumerate(rows)]
    return "\n".join(f"| {' | '.join(texts)} |" for texts in lines)


def escape_markdown(text: str) -> str:
    """A text without Markdown's meaning: no emphasis, no HTML, and no link or image, which a reader would fetch."""
    escaped = re.sub(r"[\\|*_<`]", r"\\\g<0>", text).replace("\n", " ")
    return printable(re.sub(r"\](?=[(\[:])", r"\]", escaped), "\t")


def render_html(table: Table) -> str:
    """The table as a self-contained HTML page that fetches nothing: its blocks, the summary and the footnotes."""
    values = {
        "title": table.spec.title,
        "summary": summary_paragraph(table),
        "blocks": blocks(table),
        "footnotes": footnotes(table, best_mark="bold"),
    }
    return render_page("table.html.j2", values)


def render_csv(table: Table) -> str:
    """One line a cell, numbers unrounded and as in the records (fractions); empty where there is no value.

    Published results are texts, as printed; those that name no cell of ours are in published.csv only.
    """
    import pandas as pd

    frame = pd.DataFrame([_csv_row(table, key) for key in table.cells], dtype=object)
    values = (" ".join(f"{trial}:{value!r}" for trial, value in cell.values.items()) for cell in table.cells.values())
    frame.insert(list(frame.columns).index("best"), "values", list(values))
    return str(frame.map(plain_cell).to_csv(index=False, lineterminator="\n"))


def _csv_row(table: Table, key: CellKey) -> dict[str, Value]:
    """The numbers of a cell, with what only text can hold: ranges over trials, costs by player, runs, sources."""
    cell = table.cells[key]
    row = {name: int(value) if isinstance(value, bool) else value for name, value in cell_data(table, key).items()}
    images = "unknown" if cell.images is None else json.dumps(cell.images, sort_keys=True)
    elsewhere = (
        f"{format_published(one)} ({one.differs})"
        for one in table.published
        if one.differs and (one.row, one.column) == key
    )
    return {
        **row,
        **{name: f"{low}" if low == high else f"{low}:{high}" for name, (low, high) in cell.data_used.items()},
        "flops": "unknown" if cell.records and cell.flops is None else row["flops"],
        "images": images if cell.records else None,
        "stamps": " ".join(cell.stamps),
        "runs": " ".join(record["run"] for group in cell.by_trial.values() for record in group),
        "published": " | ".join(map(format_published, table.published_at(key))),
        "published_elsewhere": " | ".join(elsewhere),
    }

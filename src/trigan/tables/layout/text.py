"""A table as terminal text, Markdown and CSV: pure functions, the same bytes for the same table."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trigan.records.record import DATA_KINDS
from trigan.tables.cell import Cell
from trigan.tables.layout.blocks import Block, blocks
from trigan.tables.layout.column_widths import column_widths, split_to_width
from trigan.tables.layout.footnotes import footnotes, summary_paragraph
from trigan.tables.layout.formatting import TextFormat, format_published
from trigan.tables.paired_comparison import PairedComparison
from trigan.tables.table import Table


def render_terminal(table: Table, width: int = 100, colour: bool = False, decimals: int = 1) -> str:
    """The table as text of at most ``width`` columns (80 or more); with ``colour`` also ANSI styles, for a terminal."""
    fmt = TextFormat(table.metric, decimals)
    page = io.StringIO()
    console = Console(
        file=page,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    for block in blocks(table, fmt):
        for part in split_to_width(block, width):
            console.print(_rich(part, width))
            console.print()
    console.print(Text(summary_paragraph(table, fmt)))
    console.print()
    for note in footnotes(table, fmt, best_mark="*"):
        console.print(Text(note, style="dim"))
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())


def _rich(block: Block, width: int) -> RichTable:
    grid = RichTable(
        box=box.SIMPLE_HEAD,
        title=block.title,
        title_justify="left",
        title_style="bold",
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for name, columns in zip(block.header, column_widths(block, width), strict=True):
        grid.add_column(name, overflow="fold", width=columns)
    for i, row in enumerate(block.rows):
        grid.add_row(*(_starred(text) if (i, j) in block.bold else Text(text) for j, text in enumerate(row)))
    return grid


def _starred(text: str) -> Text:
    """The number in bold with a star, which is still seen where there are no styles; then what follows it."""
    number, semicolon, rest = text.partition(";")
    return Text.assemble((f"{number} *", "bold"), semicolon + rest)


def render_markdown(table: Table, decimals: int = 1) -> str:
    """The table as Markdown: its blocks, the paragraph in plain words, and the notes as a list."""
    fmt = TextFormat(table.metric, decimals)
    parts = []
    for level, block in enumerate(blocks(table, fmt)):
        title = f"{'#' * (2 if level == 0 else 3)} {_escape(block.title)}"
        parts.append(f"{title}\n\n{markdown_grid(block.header, block.rows, block.bold)}")
    parts.append(_escape(summary_paragraph(table, fmt)))
    parts.append("\n".join(f"- {_escape(note)}" for note in footnotes(table, fmt, best_mark="bold")))
    return "\n\n".join(parts) + "\n"


def markdown_grid(header: Sequence[str], rows: Iterable[Sequence[str]], bold: Collection[tuple[int, int]] = ()) -> str:
    """A Markdown table of texts, escaped; ``bold`` are (row, column) indices."""
    lines = [_line(list(header)), _line(["---"] * len(header), escape=False)]
    for i, row in enumerate(rows):
        lines.append(_line([_strong(t) if (i, j) in bold else _escape(t) for j, t in enumerate(row)], escape=False))
    return "\n".join(lines)


def _line(texts: tuple[str, ...] | list[str], escape: bool = True) -> str:
    return f"| {' | '.join(_escape(text) if escape else text for text in texts)} |"


def _strong(text: str) -> str:
    number, semicolon, rest = text.partition(";")
    return f"**{_escape(number)}**{semicolon}{_escape(rest)}"


def _escape(text: str) -> str:
    for mark in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")


def render_csv(table: Table) -> str:
    """One line a cell, numbers unrounded and as in the records (fractions); empty where there is nothing to say.

    Published figures are texts, as printed; those that name no cell of ours are in published.csv alone.
    """
    page = io.StringIO()
    lines = [_csv_line(table, place) for place in table.cells]
    writer = csv.DictWriter(page, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return page.getvalue()


def _csv_line(table: Table, place: tuple[str, str]) -> dict[str, Any]:
    cell, one = table.cells[place], table.differences.get(place)
    primary = next((c for c in table.primary if (c.row, c.column) == place), None)
    return {
        "row": place[0],
        "column": place[1],
        "metric": table.spec.metric,
        **_csv_summary(cell),
        "best": int(place in table.best),
        "not_worse": int(place in table.not_worse),
        **_csv_contrast("difference", one),
        **_csv_contrast("primary", primary),
        **_csv_sight(cell),
        "published": " | ".join(map(format_published, table.published_at(place))),
        "published_elsewhere": " | ".join(
            f"{format_published(one.published)} ({one.differs})"
            for one in table.published
            if one.differs and (one.published.row, one.published.column) == place
        ),
    }


def _csv_summary(cell: Cell) -> dict[str, Any]:
    summary = cell.summary
    return {
        "mean": "" if summary is None else summary.mean,
        "sd": "" if summary is None or summary.sd is None else summary.sd,
        "low": "" if summary is None else summary.low,
        "high": "" if summary is None else summary.high,
        "n": cell.n,
        "expected": len(cell.expected),
        "diverged": cell.diverged,
        "incomplete": int(cell.incomplete),
        "values": " ".join(f"{trial}:{value!r}" for trial, value in cell.values.items()),
    }


def _csv_contrast(name: str, one: PairedComparison | None) -> dict[str, Any]:
    keys = ("against", "kind", "mean", "low", "high", "p", "p_sign_flip", "p_holm", "reason")
    found = {key: getattr(one, key) if one else None for key in keys}
    return {f"{name}_{key}": "" if value is None else value for key, value in found.items()}


def _csv_sight(cell: Cell) -> dict[str, Any]:
    there = bool(cell.records)
    training, selection = cell.labels if there else ((0, 0), (0, 0))
    numbers = {**cell.data_used, "labels_training": training, "labels_selection": selection} if there else {}
    keys = (*DATA_KINDS, "labels_training", "labels_selection")
    return {
        **{key: _span(numbers[key]) if key in numbers else "" for key in keys},
        "rule": " ".join(cell.rules),
        **(_csv_cost(cell) if there else {"flops": "", "images": ""}),
        "stamps": " ".join(cell.stamps),
        "runs": " ".join(record["run"] for group in cell.by_trial.values() for record in group),
    }


def _csv_cost(cell: Cell) -> dict[str, Any]:
    flops, images = cell.flops, cell.images
    seen = "unknown" if images is None else json.dumps(images, sort_keys=True)
    return {"flops": "unknown" if flops is None else flops, "images": seen}


def _span(extent: tuple[int, int]) -> str:
    low, high = extent
    return f"{low}" if low == high else f"{low}:{high}"

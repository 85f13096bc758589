"""``trigan compare``: an ad-hoc table over records that are there, with the numbers and the renderer of a study's."""

import sys
from pathlib import Path

from rich.console import Console

from trigan.atomic import wrap_os_errors, write_bytes
from trigan.commands.arguments import Parser
from trigan.errors import ConfigError
from trigan.records.record import find_records
from trigan.tables.cell import METRICS
from trigan.tables.compare import compare, select
from trigan.tables.layout.text import render_csv, render_markdown, render_terminal
from trigan.tables.table import Table


def main(arguments: list[str]) -> int:
    """Print a table of the chosen records, as terminal text, Markdown or CSV."""
    parser = Parser(
        prog="trigan compare",
        description="A table over finished runs: rows by what differs, columns by data and labels.",
        epilog="example: trigan compare data=digits strategy=baseline,joint --reference baseline",
        allow_abbrev=False,
    )
    parser.add_argument("queries", nargs="*", help="starts of run hashes, or key=value conditions; none: all runs")
    parser.add_argument("--metric", choices=sorted(METRICS), default="accuracy")
    parser.add_argument("--reference", help="the row that differences are taken to")
    parser.add_argument("--margin", type=float, default=0.5, help="the dagger's margin in points")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs")
    parser.add_argument("--format", choices=("text", "md", "csv"), default="text", help="what is printed")
    parser.add_argument("--write", type=Path, metavar="DIR", help="also write table.txt, table.md and table.csv there")
    options = parser.parse_intermixed_args(arguments)
    found, left_out = find_records(options.outputs)
    debug = f"debug runs enter no table, {left_out} left out" if left_out else ""
    if not found:
        nothing = f"{options.outputs}/runs: there is no finished run to compare"
        raise ConfigError("; ".join(part for part in (nothing, debug) if part))
    if debug:
        print(debug, file=sys.stderr)
    table = compare(select(found, options.queries), options.metric, options.reference, options.margin)
    if options.write:
        _write(table, options.write)
    console = Console()
    if options.format == "text":
        print(render_terminal(table, width=max(console.width, 80), colour=console.is_terminal))
    else:
        print({"md": render_markdown, "csv": render_csv}[options.format](table), end="")
    return 0


def _write(table: Table, folder: Path) -> None:
    with wrap_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("txt", render_terminal(table)), ("md", render_markdown(table)), ("csv", render_csv(table))):
        write_bytes(folder / f"table.{name}", text.encode())

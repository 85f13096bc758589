"""``trigan table STUDY``: the table of what a study has so far, in any format, from disk or W&B; it runs nothing."""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from trigan.cli.arguments import Parser
from trigan.cli.compose import Composer
from trigan.cli.study import RECORD, Cell, Plan
from trigan.cli.study_file import find, read
from trigan.cli.study_table import FORMATS, print_terminal, rendered, study_table
from trigan.errors import ConfigError
from trigan.results.cell import METRICS
from trigan.results.files import write_atomically

#: Gives cells a place of their records that can be read here.
Located = Callable[[Sequence[Cell]], Sequence[Cell]]


def main(arguments: list[str]) -> int:
    """Print the table, or write it to a file."""
    options = _parser().parse_intermixed_args(arguments)
    file = find(options.name)
    plan = Plan(Composer(options.config_dir), read(file, options.scale), options.overrides)
    if plan.first().debug:
        raise ConfigError("debug runs enter no table: take debug= away")
    with tempfile.TemporaryDirectory(prefix="trigan-") as folder:
        cells = planned(plan, _fetching(options.source, Path(folder)) if options.source else list)
        study = plan.named()
        table = study_table(replace(study, metric=options.metric or study.metric), file, cells)
        done = sum(cell.done for cell in cells)
    jobs = len(study.rows) * len(study.columns) * len(study.trials)
    if done < jobs:
        where = f" in W&B's {options.source}" if options.source else ""
        print(
            f"{done} of {jobs} jobs have a record{where}; `trigan study {options.name}` runs the rest", file=sys.stderr
        )
    if options.output:
        write_atomically(options.output, rendered(table, options.format).encode())
        print(f"written: {options.output}", file=sys.stderr)
    elif options.format == "terminal":
        print_terminal(table)
    else:
        print(rendered(table, options.format), end="")
    return 0


def planned(plan: Plan, located: Located) -> list[Cell]:
    """The jobs of a study, with those that are given the compute of others where these have it."""
    cells = located(plan.cells())
    matched, _ = plan.matched(cells)
    return [*cells, *located(matched)]


def _fetching(project: str, folder: Path) -> Located:
    """Records from a W&B project, where a run's id is its hash, into ``folder``."""
    from trigan.tracking.fetch import fetch_records
    from trigan.tracking.wandb import public_api

    api = public_api()

    def fetched(cells: Sequence[Cell]) -> Sequence[Cell]:
        fetch_records(api, project, [cell.hash for cell in cells], folder)
        return [replace(cell, record=folder / "runs" / cell.hash / RECORD) for cell in cells]

    return fetched


def _source(text: str) -> str:
    """The W&B project that ``--from`` names; empty for the disk."""
    if text != "disk" and not re.fullmatch(r"wandb:[^/\s:]+/[^/\s:]+", text):
        raise argparse.ArgumentTypeError(f"{text}: expected disk, or wandb:ENTITY/PROJECT")
    return text.removeprefix("wandb:") if text != "disk" else ""


def _parser() -> Parser:
    parser = Parser(
        prog="trigan table",
        description="Print the table of a study from the records that are there; nothing is run.",
        epilog="example: trigan table demo --format latex --output demo.tex",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help="the settings that the study was run with, e.g. paths.outputs=DIR")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument("--format", choices=tuple(FORMATS), default="terminal")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of printing it")
    parser.add_argument(
        "--from",
        dest="source",
        type=_source,
        default="disk",
        metavar="disk|wandb:ENTITY/PROJECT",
        help="where the records are (default: disk, under paths.runs)",
    )
    parser.add_argument("--metric", choices=sorted(METRICS), help="another metric than the study's")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser

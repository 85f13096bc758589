"""``trigan table STUDY`` and ``trigan compare``: tables of the records that exist; they run nothing."""

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

from trigan.atomic import write_text
from trigan.commands.arguments import Parser
from trigan.commands.study import chosen_study, print_table, study_parser
from trigan.errors import ArtifactError, ConfigError
from trigan.records.file_index import FileIndex, collector_paused
from trigan.records.record import find_records
from trigan.records.seal_ledger import read_ledger
from trigan.scores import TABLE_METRICS
from trigan.studies.study_table import FORMATS, current_table, render_table
from trigan.tables.compare import compare, select
from trigan.tables.image_outcomes import ImageOutcomes, read_outcomes
from trigan.tables.stored_predictions import with_ranking_scores
from trigan.tables.table import table_intervals

#: Formats that ``trigan compare`` prints and writes, with the suffix of its files.
_COMPARE_FORMATS = {"text": "terminal", "md": "md", "csv": "csv"}


@collector_paused()
def main(arguments: list[str]) -> int:
    """Print the table of a study, or write it to a file; 3 if a record in it is damaged."""
    parser = study_parser(
        "table",
        "Print the table of a study from its finished runs; nothing is run.",
        "example: trigan table demo --format latex --output demo.tex",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="terminal")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of printing it")
    source, source_help = "disk|wandb:ENTITY/PROJECT", "where the records are (default: disk, under paths.runs)"
    parser.add_argument("--from", dest="source", type=_source, default="disk", metavar=source, help=source_help)
    parser.add_argument("--metric", choices=sorted(TABLE_METRICS), help="another metric than the study's")
    options = parser.parse_intermixed_args(arguments)
    study = chosen_study(options)
    table, done, count = current_table(study, options.overrides, options.config_dir, options.source, options.metric)
    if done < count:
        where = f" in W&B's {options.source}" if options.source else ""
        rest = f"`trigan study {options.name}` runs the rest"
        print(f"{done} of {count} jobs have a record{where}; {rest}", file=sys.stderr)
    if options.output:
        write_text(options.output, render_table(table, options.format))
        print(f"written: {options.output}", file=sys.stderr)
    else:
        print_table(table, options.format)
    return ArtifactError.exit_code if table.spec.damaged else 0


@collector_paused()
def compare_main(arguments: list[str]) -> int:
    """Print a table of the chosen records, as terminal text, Markdown or CSV."""
    parser = Parser(
        prog="trigan compare",
        description="A table over finished runs: rows by what differs, columns by data and labels.",
        epilog="example: trigan compare data=digits strategy=baseline,joint --reference baseline",
        allow_abbrev=False,
    )
    parser.add_argument("queries", nargs="*", help="starts of run hashes, or key=value conditions; none: all runs")
    parser.add_argument("--metric", choices=sorted(TABLE_METRICS), default="accuracy")
    parser.add_argument("--reference", help="the row that differences are taken to")
    parser.add_argument("--margin", type=float, default=0.5, help="the dagger's margin in points")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs")
    parser.add_argument("--format", choices=tuple(_COMPARE_FORMATS), default="text", help="what is printed")
    parser.add_argument("--write", type=Path, metavar="DIR", help="also write table.txt, table.md and table.csv there")
    options = parser.parse_intermixed_args(arguments)
    index = FileIndex(options.outputs / "runs")
    records, left_out = find_records(options.outputs, index)
    debug = f"debug runs enter no table, {left_out} left out" if left_out else ""
    if not records:
        nothing = f"{options.outputs}/runs: there is no finished run to compare"
        raise ConfigError("; ".join(part for part in (nothing, debug) if part))
    if debug:
        print(debug, file=sys.stderr)
    folders = {record["run"]: options.outputs / "runs" / record["run"] for record in records}
    chosen = [with_ranking_scores(one, folders[one["run"]], options.metric) for one in select(records, options.queries)]
    outcomes = dict[str, ImageOutcomes]()
    for record in chosen:
        outcomes |= read_outcomes(record, folders[record["run"]], index)
    ledger = read_ledger(options.outputs / "runs", index)
    table = compare(chosen, options.metric, options.reference, options.margin, outcomes, ledger)
    table = replace(table, sampling=table_intervals(table, folders, index))
    index.save()
    for name in _COMPARE_FORMATS.values() if options.write else ():
        write_text(options.write / f"table.{FORMATS[name][0]}", render_table(table, name))
    print_table(table, _COMPARE_FORMATS[options.format])
    return 0


def _source(text: str) -> str:
    """The W&B project that ``--from`` names; empty for the disk."""
    if text != "disk" and not re.fullmatch(r"wandb:[^/\s:]+/[^/\s:]+", text):
        raise argparse.ArgumentTypeError(f"{text}: expected disk, or wandb:ENTITY/PROJECT")
    return text.removeprefix("wandb:") if text != "disk" else ""

"""``trigan table STUDY`` and ``trigan compare``: tables of the records that exist; they run nothing."""

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from trigan.atomic import write_text
from trigan.commands.arguments import Parser
from trigan.commands.study import chosen_study, print_table, study_parser
from trigan.errors import ArtifactError, ConfigError
from trigan.records.file_index import FileIndex, collector_paused
from trigan.records.record import find_records
from trigan.records.seal_ledger import read_ledger
from trigan.scores import TABLE_METRICS
from trigan.studies.study_archive import archived_table, write_study_archive
from trigan.studies.study_file import find_study, read_study
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
    source_help = "where the records are: disk (default; under paths.runs), W&B, or a file that --archive wrote"
    source: dict[str, Any] = {"type": _source, "default": "disk", "metavar": "disk|wandb:ENTITY/PROJECT|FILE"}
    parser.add_argument("--from", dest="source", **source, help=source_help)
    archive_help = "write the records behind the table there instead of printing it, e.g. records.parquet"
    parser.add_argument("--archive", type=Path, metavar="FILE", help=archive_help)
    parser.add_argument("--metric", choices=sorted(TABLE_METRICS), help="another metric than the study's")
    options = parser.parse_intermixed_args(arguments)
    if options.archive:
        return _write_archive(options)
    if isinstance(options.source, Path):
        if given := [*options.overrides, *(["--tuned"] if options.tuned else [])]:
            raise ConfigError(f"{given[0]}: the runs of --from {options.source} have their settings; leave it out")
        study = read_study(find_study(options.name), options.scale)
        table, done, count = archived_table(options.source, study, options.metric)
    else:
        study = chosen_study(options)
        table, done, count = current_table(study, options.overrides, options.config_dir, options.source, options.metric)
    if done < count:
        place = options.source if isinstance(options.source, Path) else f"W&B's {options.source}"
        where = f" in {place}" if options.source else ""
        rest = f"`trigan study {options.name}` runs the rest"
        print(f"{done} of {count} jobs have a record{where}; {rest}", file=sys.stderr)
    if options.output:
        write_text(options.output, render_table(table, options.format))
        print(f"written: {options.output}", file=sys.stderr)
    else:
        print_table(table, options.format)
    return ArtifactError.exit_code if table.spec.damaged else 0


def _write_archive(options: argparse.Namespace) -> int:
    """Write the archive, and say what is in it."""
    if options.source or options.output or options.metric:
        raise ConfigError(
            "--archive: writes the records that are on disk, of all metrics; leave --from, --output and --metric out"
        )
    done, count, runs = write_study_archive(
        options.archive, chosen_study(options), options.overrides, options.config_dir
    )
    size = options.archive.stat().st_size
    print(
        f"written: {options.archive} ({done} of {count} jobs; {runs} runs in all, {size / 1000:,.0f} kB)",
        file=sys.stderr,
    )
    return 0


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


def _source(text: str) -> str | Path:
    """The W&B project or the archive that ``--from`` names; empty for the disk."""
    if re.fullmatch(r"wandb:[^/\s:]+/[^/\s:]+", text) or text == "disk":
        return text.removeprefix("wandb:") if text != "disk" else ""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text}: expected disk, wandb:ENTITY/PROJECT, or a file that --archive wrote")
    return Path(text)

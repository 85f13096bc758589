"""``trigan table STUDY``: the table of what a study has so far, in any format, from disk or W&B; it runs nothing."""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trigan.atomic import write_bytes
from trigan.commands.arguments import Parser
from trigan.errors import ConfigError
from trigan.records.record import RECORD_NAME
from trigan.studies.job_cache import JobCache, load_jobs, make_plan, no_finished_runs, with_variant_name
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.studies.study_file import StudyFile, find_study, read_study
from trigan.studies.study_table import FORMATS, print_table, render_table, study_table
from trigan.tables.cell import METRICS


def main(arguments: list[str]) -> int:
    """Print the table, or write it to a file."""
    options = _parser().parse_intermixed_args(arguments)
    study = read_study(find_study(options.name), options.scale)
    job_cache = JobCache.for_study(study, options.overrides, options.config_dir)
    jobs = load_jobs(job_cache, study, lambda: make_plan(study, options), finished=not options.source)
    if jobs.debug:
        raise ConfigError("debug runs enter no table: take debug= away")
    with tempfile.TemporaryDirectory(prefix="trigan-") as folder:
        if options.source:
            jobs = _fetched(jobs, study, options, Path(folder))
        analysis = replace(study.analysis, metric=options.metric or study.analysis.metric)
        table = study_table(replace(with_variant_name(study, jobs), analysis=analysis), jobs.runnable, jobs.outputs)
        done = sum(cell.done for cell in jobs.runnable)
    where = f" in W&B's {options.source}" if options.source else ""
    if not any(cell.records for cell in table.cells.values()):
        raise no_finished_runs(study, where.strip() or f"under {jobs.runs}")
    if done < len(jobs):
        print(
            f"{done} of {len(jobs)} jobs have a record{where}; `trigan study {options.name}` runs the rest",
            file=sys.stderr,
        )
    if options.output:
        write_bytes(options.output, render_table(table, options.format).encode())
        print(f"written: {options.output}", file=sys.stderr)
    elif options.format == "terminal":
        print_table(table)
    else:
        print(render_table(table, options.format), end="")
    return 0


def _fetched(jobs: StudyJobs, study: StudyFile, options: argparse.Namespace, folder: Path) -> StudyJobs:
    """The jobs with their records from a W&B project, where a run's id is its hash, in ``folder``."""
    from trigan.tracking.wandb_tracking import fetch_records, public_api

    api = public_api()

    def here(cells: Sequence[StudyJob]) -> tuple[StudyJob, ...]:
        fetch_records(api, options.source, [cell.hash for cell in cells], folder, RECORD_NAME)
        return tuple(replace(cell, record_path=folder / "runs" / cell.hash / RECORD_NAME) for cell in cells)

    jobs = replace(jobs, runnable=here([cell for cell in jobs.runnable if not cell.row.match]), waiting=())
    if not any(row.match for row in study.rows):
        return jobs
    later = make_plan(study, options).with_matched(jobs)
    return replace(later, runnable=jobs.runnable + here([cell for cell in later.runnable if cell.row.match]))


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

"""``trigan study NAME``: run what is missing, then print and write the table; ``trigan audit``: what differs in C."""

import argparse
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from trigan.atomic import write_text
from trigan.commands.arguments import Parser, command_parser, positive_int
from trigan.errors import ArtifactError, ConfigError, printable
from trigan.execution.engines import split
from trigan.execution.job import run_options, shell_line
from trigan.execution.progress import duration
from trigan.studies.audit import audit_study, difference_line
from trigan.studies.job_cache import cache_path, load_jobs, make_plan, save_jobs
from trigan.studies.study_file import StudyFile, find_study, read_study
from trigan.studies.study_status import job_list, job_statuses, mean_row_costs, status_summary, time_left
from trigan.studies.study_table import FILE_FORMATS, FORMATS, render_table
from trigan.studies.tuned_settings import read_tuned
from trigan.tables.classifier_differences import undeclared
from trigan.tables.layout.formatting import format_flops
from trigan.tables.layout.text import render_brief, render_terminal


def main(arguments: list[str]) -> int:
    """Run a study, or show its state; 0 when its table is complete, 1 when a job has no record, 3 for a damaged one."""
    parser = study_parser(
        "study",
        "Run the jobs of experiments/NAME/study.yaml that have no record yet, and print their table.",
        "Each job is a process of its own. The same command again runs what is missing, --retry what failed.",
        "settings for every job, e.g. trainer=gpu paths.outputs=DIR",
    )
    add = parser.add_argument
    add("--workers", type=positive_int, help="jobs at a time (default: one per core)")
    add("--timeout", type=positive_int, metavar="MINUTES", help="end a job that takes longer")
    add("--retry", action="store_true", help="run again what failed in an earlier call, too")
    add("--dry-run", action="store_true", help="list the jobs, their commands and their cost; runs nothing")
    add("--status", action="store_true", help="which jobs are done, running, failed or missing; runs nothing")
    add("--jobs-file", type=Path, metavar="FILE", help="write the commands of the jobs to run to a file; runs nothing")
    options = parser.parse_intermixed_args(arguments)
    options.engine, options.overrides = split(options.overrides)
    looking = options.status or options.dry_run or options.jobs_file
    study = chosen_study(options) if looking or options.tuned is None else _tune(options)
    if options.status:
        return _show_status(study, options)
    if options.dry_run:
        return _show_plan(study, options)
    if options.jobs_file:
        return _write_job_list(study, options)
    from trigan.studies.run_study import run_study, write_study_table  # Hydra and torch

    jobs, summary = run_study(
        study,
        options.overrides,
        workers=options.workers,
        timeout=options.timeout,
        retry=options.retry,
        config_dir=options.config_dir,
        engine_choice=options.engine,
    )
    if jobs.debug:
        print("debug runs enter no table; their records are under", jobs.runs)
    else:
        table, folder = write_study_table(study, jobs)
        console = Console()
        print(render_brief(table, width=max(console.width, 80), colour=console.is_terminal))
        files = [*(f"table.{FORMATS[name][0]}" for name in FILE_FORMATS), "comparison.png"]
        print(f"written: {folder}/{', '.join(files)}")
        name = " ".join([options.name, *(["--scale", options.scale] if options.scale else []), *options.overrides])
        print(f"all blocks and notes: trigan table {name}; one page with pictures and runs: trigan report {name}")
        if table.spec.damaged:
            return ArtifactError.exit_code
    return 1 if jobs.waiting else summary.code


def print_table(table: Any, name: str = "terminal") -> None:
    """Print a table in a format; for the terminal, as wide as it is and in its colours."""
    if name == "terminal":
        console = Console()
        print(render_terminal(table, width=max(console.width, 80), colour=console.is_terminal))
    else:
        print(render_table(table, name), end="")


def study_parser(
    command: str,
    description: str,
    epilog: str,
    settings: str = "the settings that the study was run with, e.g. paths.outputs=DIR",
) -> Parser:
    """The parser of a command on a study, with the arguments that name it and its settings."""
    parser = command_parser(command, description, epilog)
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help=settings)
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    tuned_help = "every row has the best of N search trials on counted validation labels (default: no row is tuned)"
    parser.add_argument("--tuned", type=positive_int, metavar="N", help=tuned_help)
    return parser


def chosen_study(options: argparse.Namespace) -> StudyFile:
    """The study that the arguments name, with the settings that its searches have chosen."""
    study = read_study(find_study(options.name), options.scale)
    return read_tuned(study, options.overrides, options.config_dir, options.tuned)


def _tune(options: argparse.Namespace) -> StudyFile:
    """The study after its searches, which this process runs or continues."""
    if find_spec("optuna") is None:
        raise ConfigError("--tuned needs optuna: pip install 'trigan[search]'")
    from trigan.search.tuned_study import tune_study

    study = read_study(find_study(options.name), options.scale)
    how = {"workers": options.workers, "timeout": options.timeout, "config_dir": options.config_dir}
    return tune_study(study, options.overrides, options.tuned, **how)


def _show_status(study: StudyFile, options: argparse.Namespace) -> int:
    """Print one line a job, and the sum."""
    statuses = job_statuses(load_jobs(study, options.overrides, options.config_dir))
    for one in statuses:
        reason = f"  ({printable(one.reason)})" if one.reason else ""
        print(f"{one.state:7}  {one.job.hash or 'after the others':20}  {one.job.name}{reason}")
    print(status_summary(statuses, options.workers))
    return 0


def _show_plan(study: StudyFile, options: argparse.Namespace) -> int:
    """Print each job, the command of those to run, and what they will cost, as far as finished runs tell."""
    statuses = job_statuses(make_plan(study, options.overrides, options.config_dir).jobs())
    costs = mean_row_costs(statuses)
    for one in statuses:
        job, cost = one.job, costs.get(one.job.row.name)
        price = f"  ({duration(cost.seconds)}, {format_flops(cost.flops)} as its row so far)" if cost else ""
        state = "done" if one.state == "done" else "to do"
        print(f"{state:5}  {job.hash or 'after the others':20}  {job.name}{price}")
        if job.hash and one.state != "done":
            print("       " + shell_line(["trigan", "run", *run_options(options.config_dir), *job.arguments]))
    done = sum(one.state == "done" for one in statuses)
    stated = f"; the study's file says: {study.cost}" if study.cost else ""
    print(f"{done} of {len(statuses)} jobs done; {time_left(statuses, options.workers)}{stated}")
    return 0


def _write_job_list(study: StudyFile, options: argparse.Namespace) -> int:
    """Write the commands of the jobs to run, and print how a queue runs them."""
    file: Path = options.jobs_file
    jobs = make_plan(study, options.overrides, options.config_dir).jobs()
    save_jobs(cache_path(study, options.overrides, options.config_dir), jobs)
    statuses, extra = job_statuses(jobs), run_options(options.config_dir)
    lines, missing = job_list(statuses, extra, options.retry), job_list(statuses, extra, retry=True)
    write_text(file, "".join(f"{line}\n" for line in lines))
    print(f"{len(lines)} of {len(jobs)} jobs written to {file}, one a line", file=sys.stderr)
    if left_out := len(missing) - len(lines):
        print(f"skipped because they failed before: {left_out} (--retry lists them, too)", file=sys.stderr)
    if jobs.waiting:
        after = "once those are done, the same command lists them"
        print(f"not in it: {len(jobs.waiting)} jobs that are given the compute of others; {after}", file=sys.stderr)
    if lines:
        name = shlex.quote(str(file))
        pick = shlex.quote(f'eval "exec $(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {name})"')
        print("from this folder:")
        print(f"  sbatch --array=1-{len(lines)} --requeue --cpus-per-task=1 --wrap={pick}   # Slurm")
        print(f"  xargs -d '\\n' -n 1 -P 2 sh -c < {name}   # two at a time, here")
    return 0


def audit_main(arguments: list[str]) -> int:
    """Print the differences, declared and not; 1 if some are not declared."""
    parser = study_parser(
        "audit",
        "List what differs in C's training between each row and the rows that it is compared with; nothing is run.",
        "Exit code 1: the study does not declare all of it.",
    )
    parser.add_argument("--undeclared", action="store_true", help="leave out what the study declares")
    options = parser.parse_intermixed_args(arguments)
    study = read_study(find_study(options.name), options.scale)
    plan = make_plan(study, options.overrides, options.config_dir)
    found = audit_study(study, plan, plan.jobs().done)
    count = 0
    for column, differences in found.items():
        missing = undeclared(differences)
        count += len(missing)
        print(f"{column}: {len(missing)} not declared, {len(differences) - len(missing)} declared by the study")
        for one in differences:
            if not (one.declared and options.undeclared):
                print(f"  {'declared    ' if one.declared else 'NOT DECLARED'}  {difference_line(one)}")
    return 1 if count else 0

"""``trigan study NAME``: run what is missing of a table's jobs, then print and write the table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan import PROTOCOL_VERSION
from trigan.commands.arguments import Parser, at_least_one
from trigan.errors import ConfigError
from trigan.execution.backends import split
from trigan.studies.job_cache import Shelf, look, named, plan_of
from trigan.studies.jobs import Cell, Jobs
from trigan.studies.study_file import StudyFile, find, read

if TYPE_CHECKING:
    from trigan.execution.batch import Engine, Summary
    from trigan.studies.plan import Plan
    from trigan.tables.table import Table


def main(arguments: list[str]) -> int:
    """Run a study; 0 when its table is complete, 1 when a job has no record."""
    options = _parser().parse_intermixed_args(arguments)
    options.engine, options.overrides = split(options.overrides)
    looks = options.status or options.dry_run or options.jobs_file is not None
    options.here = options.engine.here and not looks
    study = read(find(options.name), options.scale)
    shelf = Shelf.of(study, options.overrides, options.config_dir)
    if options.status:
        from trigan.studies.study_status import show_status

        show_status(look(shelf, study, lambda: plan_of(study, options)), options.workers)
        return 0
    if options.dry_run:
        from trigan.studies.study_status import show_plan

        show_plan(plan_of(study, options).jobs(), _extra(options), study.about.cost, options.workers)
        return 0
    if options.jobs_file:
        from trigan.studies.job_list import write_job_list

        jobs = plan_of(study, options).jobs()
        shelf.keep(jobs)
        write_job_list(jobs, _extra(options), options.jobs_file, options.retry)
        return 0
    return _run_study(study, shelf, options)


def _extra(options: Any) -> list[str]:
    """What goes before every job's settings."""
    return ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []


def _run_study(study: StudyFile, shelf: Shelf, options: Any) -> int:
    from trigan.execution.batch import engine, tell_stale
    from trigan.studies.stale_records import stale
    from trigan.studies.study_table import published_figures

    published_figures(study)  # an error in them is better told now than under the finished jobs
    with engine(options.engine, options.workers, options.timeout) as chosen:
        plan = plan_of(study, options)
        jobs = plan.jobs()
        shelf.keep(jobs)
        print(f"{study.title}: {len(jobs)} jobs", file=sys.stderr)
        tell_stale(stale(study, jobs), PROTOCOL_VERSION)
        jobs, summary = run_jobs(chosen, plan, jobs, study.name, _extra(options), options.retry)
        shelf.keep(jobs)
    for row, column, trial in jobs.waiting:
        print(
            f"not run: {row}, {column}, trial {trial} needs the compute of its column's other rows, of which some "
            "failed",
            file=sys.stderr,
        )
    print(summary.line(len(jobs.waiting)), file=sys.stderr)
    _tell_offline(jobs.cells)
    code = 1 if jobs.waiting else summary.code
    if jobs.debug:
        print("debug runs enter no table; their records are under", jobs.runs)
        return code
    study = named(study, jobs)
    table = write_table(study, jobs)
    from trigan.studies.study_wandb import tell_study

    tell_study(study, jobs, table, plan.first())
    return code


def run_jobs(
    engine: "Engine", plan: "Plan", jobs: Jobs, study: str, extra: Sequence[str], retry: bool = True
) -> "tuple[Jobs, Summary]":
    """Run what has no record yet, and then those that are given the compute of others.

    Args:
        extra: what goes before every job's settings.
        retry: run again what failed in an earlier call.
    """
    first = _run(engine, jobs.cells, jobs.logs(study), extra, retry)
    later = plan.with_matched(jobs)
    fresh = [cell for cell in later.cells if cell not in jobs.cells]
    return later, first + _run(engine, fresh, jobs.logs(study), extra, retry)


def write_table(study: StudyFile, jobs: Jobs) -> "Table":
    """Print the table of the finished jobs and of submitted rows, and write it in all formats for files."""
    from trigan.studies.study_table import print_terminal, study_table, write_files

    table, folder = study_table(study, jobs.cells, jobs.outputs), jobs.folder(study)
    written = write_files(table, folder)
    print_terminal(table)
    print(f"written: {folder}/{', '.join(written)}")
    return table


def _parser() -> Parser:
    parser = Parser(
        prog="trigan study",
        description="Run the jobs of experiments/NAME/study.yaml that have no record yet, and print their table.",
        epilog="Each job is a process of its own. The same command again runs what is missing, --retry what failed.",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a study of ./experiments or of trigan's own, or a path")
    parser.add_argument("overrides", nargs="*", help="settings for every job, e.g. trainer=gpu paths.outputs=DIR")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument("--workers", type=at_least_one, help="jobs at a time (default: one per core)")
    parser.add_argument("--timeout", type=at_least_one, metavar="MINUTES", help="end a job that takes longer")
    parser.add_argument("--retry", action="store_true", help="run again what failed in an earlier call, too")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the jobs, what each would run and cost; runs nothing"
    )
    parser.add_argument(
        "--status", action="store_true", help="which jobs are done, running, failed or missing; runs nothing"
    )
    parser.add_argument(
        "--jobs-file", type=Path, metavar="FILE", help="write the jobs that are to do, a command a line; runs nothing"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser


def _run(engine: "Engine", cells: Sequence[Cell], logs: Path, extra: Sequence[str], retry: bool) -> "Summary":
    from trigan.execution.batch import run_batch
    from trigan.execution.job import Job

    names = [cell.name for cell in {cell.hash: cell for cell in cells}.values()]
    if len(set(names)) != len(names):
        raise ConfigError("two jobs of the study have the same row, column and trial")
    jobs = [Job(cell.name, (*extra, *cell.arguments), cell.record.parent, cell.needs) for cell in cells]
    return run_batch(engine, jobs, logs, retry)


def _tell_offline(cells: Sequence[Cell]) -> None:
    """How to send what W&B has kept offline: each job said so, but in its own log."""
    runs = {cell.record.parents[1] for cell in cells if any(cell.record.parent.glob("wandb/offline-run-*"))}
    for place in sorted(runs):
        print(f"W&B has kept curves offline; send them with: wandb sync {place}/*/wandb", file=sys.stderr)

"""``trigan study NAME``: run what is missing of a table's jobs, then print and write the table."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan import PROTOCOL_VERSION
from trigan.commands.arguments import Parser, positive_int
from trigan.errors import ConfigError
from trigan.execution.engines import split
from trigan.studies.job_cache import JobCache, load_jobs, make_plan, with_variant_name
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.studies.study_file import StudyFile, find_study, read_study

if TYPE_CHECKING:
    from trigan.execution.batch import BatchSummary, Engine
    from trigan.studies.plan import StudyPlan
    from trigan.tables.table import Table


def main(arguments: list[str]) -> int:
    """Run a study; 0 when its table is complete, 1 when a job has no record."""
    options = _parser().parse_intermixed_args(arguments)
    options.engine, options.overrides = split(options.overrides)
    looks = options.status or options.dry_run or options.jobs_file is not None
    options.check_devices = options.engine.local and not looks
    study = read_study(find_study(options.name), options.scale)
    job_cache = JobCache.for_study(study, options.overrides, options.config_dir)
    if options.status:
        from trigan.studies.study_status import show_status

        show_status(load_jobs(job_cache, study, lambda: make_plan(study, options)), options.workers)
        return 0
    if options.dry_run:
        from trigan.studies.study_status import show_plan

        show_plan(make_plan(study, options).jobs(), _extra(options), study.about.cost, options.workers)
        return 0
    if options.jobs_file:
        from trigan.studies.job_list import write_job_list

        jobs = make_plan(study, options).jobs()
        job_cache.save(jobs)
        write_job_list(jobs, _extra(options), options.jobs_file, options.retry)
        return 0
    return _run_study(study, job_cache, options)


def _extra(options: Any) -> list[str]:
    """What goes before every job's settings."""
    return ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []


def _run_study(study: StudyFile, job_cache: JobCache, options: Any) -> int:
    from trigan.execution.batch import engine, warn_about_stale_records
    from trigan.studies.stale_records import count_stale_records
    from trigan.studies.study_table import published_results

    published_results(study)  # an error in them is better told now than under the finished jobs
    with engine(options.engine, options.workers, options.timeout) as chosen:
        plan = make_plan(study, options)
        jobs = plan.jobs()
        job_cache.save(jobs)
        print(f"{study.title}: {len(jobs)} jobs", file=sys.stderr)
        warn_about_stale_records(count_stale_records(study, jobs), PROTOCOL_VERSION)
        jobs, summary = run_jobs(chosen, plan, jobs, study.name, _extra(options), options.retry)
        job_cache.save(jobs)
    for row, column, trial in jobs.waiting:
        print(
            f"not run: {row}, {column}, trial {trial} needs the compute of its column's other rows, of which some "
            "failed",
            file=sys.stderr,
        )
    print(summary.line(len(jobs.waiting)), file=sys.stderr)
    _tell_offline(jobs.runnable)
    code = 1 if jobs.waiting else summary.code
    if jobs.debug:
        print("debug runs enter no table; their records are under", jobs.runs)
        return code
    study = with_variant_name(study, jobs)
    table = write_table(study, jobs)
    from trigan.studies.study_wandb import log_study

    log_study(study, jobs, table, plan.first())
    return code


def run_jobs(
    engine: "Engine", plan: "StudyPlan", jobs: StudyJobs, study: str, extra: Sequence[str], retry: bool = True
) -> "tuple[StudyJobs, BatchSummary]":
    """Run what has no record yet, and then those that are given the compute of others.

    Args:
        extra: what goes before every job's settings.
        retry: run again what failed in an earlier call.
    """
    first = _run(engine, jobs.runnable, jobs.logs(study), extra, retry)
    later = plan.with_matched(jobs)
    fresh = [cell for cell in later.runnable if cell not in jobs.runnable]
    return later, first + _run(engine, fresh, jobs.logs(study), extra, retry)


def write_table(study: StudyFile, jobs: StudyJobs) -> "Table":
    """Print the table of the finished jobs and of submitted rows, and write it in all formats for files."""
    from trigan.studies.study_table import print_table, study_table, write_table_files

    table, folder = study_table(study, jobs.runnable, jobs.outputs), jobs.folder(study)
    written = write_table_files(table, folder)
    print_table(table)
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
    parser.add_argument("--workers", type=positive_int, help="jobs at a time (default: one per core)")
    parser.add_argument("--timeout", type=positive_int, metavar="MINUTES", help="end a job that takes longer")
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


def _run(engine: "Engine", cells: Sequence[StudyJob], logs: Path, extra: Sequence[str], retry: bool) -> "BatchSummary":
    from trigan.execution.batch import run_batch
    from trigan.execution.job import Job

    names = [cell.name for cell in {cell.hash: cell for cell in cells}.values()]
    if len(set(names)) != len(names):
        raise ConfigError("two jobs of the study have the same row, column and trial")
    jobs = [Job(cell.name, (*extra, *cell.arguments), cell.record_path.parent, cell.resources) for cell in cells]
    return run_batch(engine, jobs, logs, retry)


def _tell_offline(cells: Sequence[StudyJob]) -> None:
    """How to send what W&B has kept offline: each job said so, but in its own log."""
    runs = {cell.record_path.parents[1] for cell in cells if any(cell.record_path.parent.glob("wandb/offline-run-*"))}
    for place in sorted(runs):
        print(f"W&B has kept curves offline; send them with: wandb sync {place}/*/wandb", file=sys.stderr)

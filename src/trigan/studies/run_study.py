"""Running a study: what is missing of its jobs, then its table in files."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from trigan.atomic import write_text
from trigan.execution.batch import BatchSummary, Engine, engine, run_batch, warn_about_stale_records
from trigan.execution.engines import EngineChoice
from trigan.execution.job import Job, run_options
from trigan.execution.pool import LocalEngine
from trigan.execution.progress import Heartbeat
from trigan.records.file_index import FileIndex
from trigan.records.record import RECORD_NAME
from trigan.studies.audit import audit_study, require_declared
from trigan.studies.job_cache import cache_path, make_plan, read_jobs, save_jobs
from trigan.studies.jobs import StudyJob, StudyJobs
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import FILE_FORMATS, FORMATS, published_results, render_table, study_table
from trigan.studies.study_wandb import log_study
from trigan.tables.table import Table, counted
from trigan.version import PROTOCOL_VERSION

_log = logging.getLogger("trigan")


def run_study(
    study: StudyFile,
    overrides: Sequence[str] = (),
    *,
    workers: int | None = None,
    timeout: int | None = None,
    retry: bool = False,
    config_dir: Path | None = None,
    engine_choice: EngineChoice | None = None,
) -> tuple[StudyJobs, BatchSummary]:
    """Run the jobs of a study that have no record; arguments and errors as for `trigan.study`.

    A job is ended after ``timeout`` minutes. ``engine_choice`` says where the jobs run; None: on this machine.

    Returns:
        All jobs, and how those that were due ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same call continues from what was finished.
    """
    published_results(study)  # a mistake there is reported before anything runs
    choice = engine_choice or EngineChoice()
    cache = cache_path(study, overrides, config_dir)
    plan = make_plan(study, overrides, config_dir, check_devices=choice.local)
    finished = plan.finished(read_jobs(cache))
    if finished is None:
        plan.check()  # before the engine begins to import what jobs need
    idle = nullcontext(LocalEngine(workers))  # nothing is due: no server that imports what jobs need
    with idle if finished else engine(choice, workers, timeout) as chosen, Heartbeat():
        jobs = finished or plan.jobs()
        differences = [one for found in audit_study(study, plan, jobs.done).values() for one in found]
        for line in require_declared(study, differences):
            _log.warning("not declared by the study: %s", line)
        save_jobs(cache, jobs)
        _log.info("%s: %d jobs", study.title, len(jobs))
        warn_about_stale_records(count_stale_records(study, jobs), PROTOCOL_VERSION)
        jobs, summary = run_jobs(chosen, plan, jobs, study.name, run_options(config_dir), retry)
        save_jobs(cache, jobs)
    for job in jobs.waiting:
        _log.warning("not run: %s needs the compute of %s, which has no record", job.name, job.row.match)
    _log.info("%s", summary.line(len(jobs.waiting)))
    folders = {job.record_path.parent for job in jobs.runnable}
    offline = {folder.parent for folder in folders if any(folder.glob("wandb/offline-run-*"))}
    for folder in sorted(offline):  # each job reported this, but in its own log
        _log.info("W&B has kept curves offline; send them with: wandb sync %s/*/wandb", folder)
    return jobs, summary


def run_jobs(
    chosen: Engine, plan: StudyPlan, jobs: StudyJobs, name: str, extra: Sequence[str], retry: bool
) -> tuple[StudyJobs, BatchSummary]:
    """Run what has no record yet, and then the jobs that are given the compute of another row.

    The logs lie in the folder ``name``; ``extra`` precedes every job's settings.
    """

    def run(due: Sequence[StudyJob]) -> BatchSummary:
        batch = [
            Job(job.name, (*extra, *job.arguments), job.record_path.parent, job.resources, plan.composed.get(job.hash))
            for job in due
        ]
        return run_batch(chosen, batch, jobs.outputs / "logs" / name, retry)

    first, known = run(jobs.runnable), {job.hash for job in jobs.runnable}
    if not jobs.waiting:
        return jobs, first
    later = plan.with_matched(jobs)
    return later, first + run([job for job in later.runnable if job.hash not in known])


def write_study_table(study: StudyFile, jobs: StudyJobs) -> tuple[Table, Path]:
    """Build the table of the finished jobs and of submitted rows, and write it in all file formats and as a picture.

    If the jobs were composed in this process and their logger is W&B, W&B gets the table, too.

    Returns:
        The table, and the folder of ``table.*`` and ``comparison.png``; a ConfigError for debug runs.
    """
    from trigan.plots.plot_style import no_result_lost
    from trigan.plots.run_plots import plot_comparison  # importing matplotlib takes long

    study = jobs.named(study)
    folder = jobs.folder(study)
    table = counted(study_table(study, jobs.runnable, jobs.outputs), folder)
    for name in FILE_FORMATS:
        write_text(folder / f"table.{FORMATS[name][0]}", render_table(table, name))
    with no_result_lost():
        plot_comparison(table, folder / "comparison.png")
    log_study(study, jobs, table)
    return table, folder


def count_stale_records(study: StudyFile, jobs: StudyJobs) -> Counter[str]:
    """How many records of the study's rows and trials exist under each other protocol version.

    A run's hash includes the protocol version, so no job has the hash of such a record; the records of the jobs
    themselves are not read. A record's tags name its study, row and trial, whatever settings were added since.
    """
    own = {job.hash for job in jobs.runnable}
    mine = {(study.name, row.name, trial) for row in study.rows for trial in study.trials}
    counts: Counter[str] = Counter()
    with FileIndex(jobs.runs) as index:
        for path in jobs.runs.glob(f"*/{RECORD_NAME}"):
            found = None if path.parent.name in own else index.get(path, "tags", _tags)
            if found is not None and tuple(found[:3]) in mine and found[3] != PROTOCOL_VERSION:
                counts[str(found[3])] += 1
    return counts


def _tags(path: Path) -> list[Any] | None:
    """Study, row, trial and protocol of a record; None if it is damaged, and so of no job of this study."""
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        study, row, trial = (record["tags"][name] for name in ("study", "row", "trial"))
        hash((study, row, trial))
        return [study, row, trial, record["result"]["protocol"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None

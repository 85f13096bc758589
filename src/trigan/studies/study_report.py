"""A study's finished runs as one HTML page, or as a W&B Report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trigan.atomic import write_text
from trigan.records.file_index import FileIndex
from trigan.reports.report_data import ReportData
from trigan.reports.report_page import render_report
from trigan.studies.job_cache import load_jobs
from trigan.studies.jobs import StudyJobs, no_finished_runs
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import render_table, study_table
from trigan.tables.table import Table, counted, table_intervals
from trigan.tracking.curve_files import MetricsFile
from trigan.tracking.wandb_report import ReportText, save_report
from trigan.tracking.wandb_tracking import public_api

PAGE_FILE = "report.html"


def jobs_to_report(study: StudyFile, overrides: Sequence[str] = (), config_dir: Path | None = None) -> StudyJobs:
    """The jobs of a study; a ConfigError if none is finished, or if these are debug runs."""
    jobs = load_jobs(study, overrides, config_dir, need_records=True)
    jobs.named(study)  # refuses debug runs
    if not jobs.done:
        raise no_finished_runs(study, f"under {jobs.runs}")
    return jobs


def render_study(study: StudyFile, jobs: StudyJobs) -> str:
    """The page of the finished jobs: their table, pictures, and the runs behind each number."""
    study = jobs.named(study)
    keys = ("claim", "question", "command", "cost", "expected")
    words = tuple((key.capitalize(), getattr(study, key)) for key in keys)
    folders = {job.hash: job.record_path.parent for job in jobs.done}
    table = _counted_table(study, jobs)
    if not any(cell.records for cell in table.cells.values()):  # all are damaged
        raise no_finished_runs(study, f"under {jobs.runs}")
    with FileIndex(jobs.runs) as index:
        table = replace(table, sampling=table_intervals(table, folders, index))
    return render_report(ReportData(words, table, folders))


def _counted_table(study: StudyFile, jobs: StudyJobs) -> Table:
    return counted(study_table(study, jobs.done, jobs.outputs), jobs.folder(study))


def save_wandb_report(study: StudyFile, jobs: StudyJobs, project: str, entity: str | None = None) -> str:
    """Save the study as a W&B Report, over the one that was saved before; return its address. No entity: the login's.

    Raises:
        ConfigError: nobody is logged in, an extra is missing, or W&B refuses.
    """
    entity = entity or str(public_api().default_entity)
    study = jobs.named(study)
    paragraphs = {
        "Question": study.question,
        "Results": render_table(_counted_table(study, jobs), "md"),
        "Command": f"`{study.command}`" if study.command else "",
        "Cost": study.cost,
        "Expected": study.expected,
    }
    files = (job.record_path.parent / "metrics.jsonl" for job in jobs.done)
    losses = sorted({key for file in files for row in MetricsFile.read(file) for key in row if key.endswith("loss")})
    text = ReportText(
        title=study.title,
        description=study.claim,
        paragraphs={heading: words for heading, words in paragraphs.items() if words},
        study=study.name,
        metric=f"final/test/{study.metric}",
        curves=losses,
    )
    file, key = jobs.folder(study) / "wandb" / "report", f"{entity}/{project}"
    saved_key, _, saved = file.read_text().rpartition(" ") if file.is_file() else ("", "", "")
    report, address = save_report(text, entity, project, saved if saved_key == key else "")
    write_text(file, f"{key} {report}")
    return address

"""A study in W&B: one aggregate run that holds its table, and a W&B Report over its runs."""

import hashlib
from typing import Any

from trigan.atomic import write_bytes
from trigan.studies.jobs import StudyJobs
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import render_table, study_table
from trigan.tables.table import Table
from trigan.tables.table_data import complete_means, table_data
from trigan.tracking.tracker import RunInfo

#: Beside W&B's own files in the study's folder: the digest of the table that W&B has, the id of the saved report.
_DIGEST_FILE, _REPORT_FILE = "table.sha256", "report"


def run_id(study: StudyFile, jobs: StudyJobs) -> str:
    """The aggregate run's id: the same study, of the same settings, in the same outputs, is the same run."""
    text = f"{study.name} {study.scale} {jobs.variant} {jobs.outputs.absolute()}"
    return f"study-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def log_study(study: StudyFile, jobs: StudyJobs, table: Table) -> None:
    """Send the table to W&B, if the jobs' logger is W&B and it does not have this very table."""
    from trigan.config.build import build
    from trigan.tracking.wandb_tracker import WandbTracker
    from trigan.tracking.wandb_tracking import WandbTracking

    tracking = build({"logger": jobs.logger}).logger if jobs.logger else None
    if not isinstance(tracking, WandbTracking):
        return
    folder = jobs.folder(study)
    page = render_table(table, "html")
    digest, digest_file = hashlib.sha256(page.encode()).hexdigest(), folder / "wandb" / _DIGEST_FILE
    if digest_file.is_file() and digest_file.read_text() == digest:
        return
    tags = (f"study:{study.name}", *((f"scale:{study.scale}",) if study.scale else ()))
    info = RunInfo(run_id(study, jobs), study.title, study.name, "study", tags, folder)
    tracker = tracking.open(info, _config(study, jobs))
    if isinstance(tracker, WandbTracker):
        rows = table_data(table)
        grid = tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows]
        tracker.log_study_table(grid, page, complete_means(table))
        if (folder / "table.md").is_file():
            tracker.log_record(folder / "table.md")
        tracker.finish()
        if not tracker.failed:
            write_bytes(digest_file, digest.encode())


def _config(study: StudyFile, jobs: StudyJobs) -> dict[str, Any]:
    """What the aggregate run is filtered by; the runs hold their own configs."""
    return {
        "study": study.name,
        "scale": study.scale,
        "variant": jobs.variant or None,
        "claim": study.claim,
        "question": study.question,
        "trials": list(study.trials),
        "rows": [row.name for row in study.rows],
        "columns": [column.name for column in study.columns],
        "reference": study.reference,
    }


def save_wandb_report(study: StudyFile, jobs: StudyJobs, project: str, entity: str | None = None) -> str:
    """Save the study as a W&B Report, over the one that was saved before; return its address. No entity: the login's.

    Raises:
        ConfigError: nobody is logged in, an extra is missing, or W&B refuses.
    """
    from trigan.tracking.curve_files import MetricsFile
    from trigan.tracking.wandb_report import ReportText, save_report
    from trigan.tracking.wandb_tracking import public_api

    entity = entity or str(public_api().default_entity)
    study = jobs.named(study)
    paragraphs = {
        "Question": study.question,
        "Results": render_table(study_table(study, jobs.done, jobs.outputs), "md"),
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
        group=study.name,
        metric=f"final/test/{study.metric}",
        curves=losses,
    )
    file, key = jobs.folder(study) / "wandb" / _REPORT_FILE, f"{entity}/{project}"
    saved_key, _, saved = file.read_text().rpartition(" ") if file.is_file() else ("", "", "")
    report, address = save_report(text, entity, project, saved if saved_key == key else "")
    write_bytes(file, f"{key} {report}".encode())
    return address

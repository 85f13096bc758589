"""A study in W&B: one aggregate run that holds its table."""

import hashlib

from trigan.atomic import write_text
from trigan.studies.jobs import StudyJobs
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import render_table
from trigan.tables.table import Table, complete_means, table_data
from trigan.tracking.tracker import RunInfo, loggers_of


def run_id(study: StudyFile, jobs: StudyJobs) -> str:
    """The aggregate run's id: the same study, of the same settings, in the same outputs, is the same run."""
    text = f"{study.name} {study.scale} {jobs.variant} {jobs.outputs.absolute()}"
    return f"study-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def log_study(study: StudyFile, jobs: StudyJobs, table: Table) -> None:
    """Send the table to W&B, if W&B is a logger of the jobs and it does not have this very table."""
    from trigan.config.build import build
    from trigan.tracking.wandb_tracking import WandbTracking

    loggers = loggers_of(build({"logger": jobs.logger}).logger) if jobs.logger else []
    tracking = next((one for one in loggers if isinstance(one, WandbTracking)), None)
    if tracking is None:
        return
    folder = jobs.folder(study)
    page = render_table(table, "html")
    digest, digest_file = hashlib.sha256(page.encode()).hexdigest(), folder / "wandb" / "table.sha256"
    if digest_file.is_file() and digest_file.read_text() == digest:
        return
    tags = (f"study:{study.name}", *((f"scale:{study.scale}",) if study.scale else ()))
    info = RunInfo(run_id(study, jobs), study.title, study.name, "study", tags, folder)
    filters = {  # the runs hold their own configs
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
    tracker = tracking.open(info, filters)
    from trigan.tracking.wandb_tracker import WandbTracker  # imports W&B, whose files `open` has redirected

    if isinstance(tracker, WandbTracker):
        tracker.log_study_table(table_data(table), page, complete_means(table))
        if (folder / "table.md").is_file():
            tracker.log_record(folder / "table.md")
        tracker.finish()
        if not tracker.failed:
            write_text(digest_file, digest)

"""A study in W&B: one aggregate run that holds its table, beside the runs that the table is made of."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.atomic import write_bytes
from trigan.studies.jobs import StudyJobs
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import render_table
from trigan.tables.table import Table
from trigan.tables.table_data import complete_means, table_data
from trigan.tracking.tracker import RunInfo

if TYPE_CHECKING:
    from trigan.config.compose import RunConfig

#: Beside W&B's own files: the digest of the table that it has.
_TOLD = "table.sha256"


def run_id(study: StudyFile, jobs: StudyJobs) -> str:
    """The aggregate run's id: the same study, of the same settings, in the same outputs, is the same run."""
    text = f"{study.name} {study.scale} {jobs.variant} {jobs.outputs.absolute()}"
    return f"study-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def log_study(study: StudyFile, jobs: StudyJobs, table: Table, first: "RunConfig") -> None:
    """Tell W&B the table as it is now, if the jobs' logger is W&B and it hasn't got this very table.

    Args:
        first: a job of the study, for its logger.
    """
    from trigan.config.build import build
    from trigan.tracking.wandb_tracker import WandbTracker
    from trigan.tracking.wandb_tracking import WandbTracking

    tracking = build({"logger": first.config["logger"]}).logger
    if not isinstance(tracking, WandbTracking):
        return
    folder = jobs.folder(study)
    page = render_table(table, "html")
    digest, told = hashlib.sha256(page.encode()).hexdigest(), folder / "wandb" / _TOLD
    if told.is_file() and told.read_text() == digest:
        return
    info = RunInfo(run_id(study, jobs), study.title, study.name, "study", _tags(study), folder)
    tracker = tracking.open(info, _config(study, jobs))
    if isinstance(tracker, WandbTracker):
        rows = table_data(table)
        grid = tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows]
        tracker.log_study_table(grid, page, complete_means(table))
        _send_file(tracker, folder / "table.md")
        tracker.finish()
        if not tracker.failed:
            write_bytes(told, digest.encode())


def _send_file(tracker: Any, path: Path) -> None:
    if path.is_file():
        tracker.log_record(path)


def _tags(study: StudyFile) -> tuple[str, ...]:
    return (f"study:{study.name}", *((f"scale:{study.scale}",) if study.scale else ()))


def _config(study: StudyFile, jobs: StudyJobs) -> dict[str, Any]:
    """What the study says of itself; its runs hold their own configs."""
    return {
        "study": study.name,
        "scale": study.scale,
        "variant": jobs.variant or None,
        "claim": study.about.claim,
        "question": study.about.question,
        "trials": list(study.trials),
        "rows": [line.name for line in study.rows],
        "columns": [line.name for line in study.columns],
        "reference": study.analysis.reference,
    }

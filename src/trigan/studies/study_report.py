"""A study's finished runs as one HTML page."""

from collections.abc import Sequence
from pathlib import Path

from trigan.reports.report_data import ReportData, ReportHeading
from trigan.reports.report_page import render_report
from trigan.studies.job_cache import load_jobs
from trigan.studies.jobs import StudyJobs, no_finished_runs
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import study_table

PAGE_FILE = "report.html"


def jobs_to_report(study: StudyFile, overrides: Sequence[str] = (), config_dir: Path | None = None) -> StudyJobs:
    """The jobs of a study, some of which are finished; arguments as for `trigan.studies.job_cache.load_jobs`.

    Raises:
        ConfigError: no job is finished, or these are debug runs.
    """
    jobs = load_jobs(study, overrides, config_dir, need_records=True)
    jobs.named(study)  # refuses debug runs
    if not jobs.done:
        raise no_finished_runs(study, f"under {jobs.runs}")
    return jobs


def render_study(study: StudyFile, jobs: StudyJobs) -> str:
    """The page of the finished jobs: their table, pictures, and the runs behind each number."""
    study = jobs.named(study)
    lines = [(key.capitalize(), getattr(study, key)) for key in ("question", "command", "cost", "expected")]
    heading = ReportHeading(study.title, study.claim, tuple((name, text) for name, text in lines if text))
    done = jobs.done
    folders = {job.hash: job.record_path.parent for job in done}
    return render_report(ReportData(heading, study_table(study, done, jobs.outputs), folders))

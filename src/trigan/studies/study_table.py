"""A study's table: built from the records of its finished jobs and its published figures, rendered in any format."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trigan.errors import ArtifactError
from trigan.records.file_index import FileIndex
from trigan.records.record import RECORD_NAME, Record, read_indexed, warn_without_checksum
from trigan.records.seal_ledger import Ledger, read_ledger
from trigan.studies.job_cache import load_jobs, make_plan
from trigan.studies.jobs import StudyJob, StudyJobs, no_finished_runs
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import external_records, external_rows
from trigan.tables.image_outcomes import ImageOutcomes, read_outcomes
from trigan.tables.published import PUBLISHED_NAME, PublishedResult, read_published
from trigan.tables.stored_predictions import with_ranking_scores
from trigan.tables.table import CellKey, Family, Table, TableSpec, build_table, counted

if TYPE_CHECKING:
    from trigan.studies.plan import StudyPlan

_log = logging.getLogger("trigan")

#: Each format: the suffix of its file, and the function that renders a table as text.
FORMATS = {
    "terminal": ("txt", "trigan.tables.layout.text:render_terminal"),
    "md": ("md", "trigan.tables.layout.text:render_markdown"),
    "csv": ("csv", "trigan.tables.layout.text:render_csv"),
    "latex": ("tex", "trigan.tables.layout.latex:render_latex"),
    "html": ("html", "trigan.tables.layout.text:render_html"),
}
#: The formats that ``trigan study`` writes.
FILE_FORMATS = ("terminal", "md", "csv", "latex")


@dataclass(frozen=True)
class StudyRecords:
    """What the table of a study is computed from, beside the study's file and its published figures.

    Attributes:
        records: of finished jobs, by (row, column).
        submitted: of other programs, alike.
        outcomes: by run, which test images it got right, as far as its predictions are stored.
        ledger: the settings that have met each test set.
        damaged: runs whose records cannot be used, with the reasons.
    """

    records: Mapping[CellKey, Sequence[Record]]
    submitted: Mapping[CellKey, Sequence[Record]]
    outcomes: Mapping[str, ImageOutcomes]
    ledger: Ledger
    damaged: tuple[str, ...] = ()


def study_table(study: StudyFile, jobs: Sequence[StudyJob], outputs: Path) -> Table:
    """The table of finished jobs, submitted rows and published figures.

    A record that is damaged, or not that of its job, is left out and named under the table; its cell is incomplete.

    Raises:
        TriganError: a submitted row or the published figures are damaged.
    """
    return table_of(study, read_study_records(study, jobs, outputs))


def read_study_records(study: StudyFile, jobs: Sequence[StudyJob], outputs: Path) -> StudyRecords:
    """The records of finished jobs and of submitted rows; errors as in `study_table`."""
    records: dict[CellKey, list[Record]] = {}
    outcomes: dict[str, ImageOutcomes] = {}
    damaged: list[str] = []
    runs_folder = jobs[0].record_path.parents[1] if jobs else outputs / "runs"
    with FileIndex(runs_folder) as index:
        for job in (job for job in jobs if job.done):
            try:
                record = _record(job, index)
                outcomes |= read_outcomes(record, job.record_path.parent, index)
                record = with_ranking_scores(record, job.record_path.parent, study.metric)
                records.setdefault((job.row.name, job.column.name), []).append(record)
            except ArtifactError as error:
                damaged.append(f"{job.name} ({error})")
                _log.warning("not used: %s", damaged[-1])
        ledger = read_ledger(runs_folder, index)
    warn_without_checksum(record for group in records.values() for record in group)
    columns = tuple(column.name for column in study.columns)
    submitted = external_rows(outputs, study.name, study.scale, columns)
    folders = {record["run"]: path.parent for path, record in external_records(outputs)} if submitted else {}
    for place, group in submitted.items():
        submitted[place] = [with_ranking_scores(one, folders[one["run"]], study.metric) for one in group]
        for record in group:
            folder = folders[record["run"]]
            outcomes |= read_outcomes(record, folder, FileIndex(folder))
    return StudyRecords(records, submitted, outcomes, ledger, tuple(damaged))


def table_of(study: StudyFile, found: StudyRecords) -> Table:
    """The table of records, wherever they were read, and of the published figures beside the study's file."""
    spec = TableSpec(
        title=study.title,
        rows=(*(row.name for row in study.rows), *dict.fromkeys(row for row, _ in found.submitted)),
        columns=tuple(column.name for column in study.columns),
        trials=study.trials,
        reference=study.reference,
        family=Family(study.family.rows, study.family.baselines) if study.family else None,
        matched={row.name: str(row.match) for row in study.rows if row.match},
        margin=study.margin,
        metric=study.metric,
        declared={row.name: (row.given, row.declares) for row in study.rows},
        ablations={row: tuple((step.adds, step.start) for step in steps) for row, steps in study.ablations.items()},
        damaged=found.damaged,
    )
    published = [
        one for one in published_results(study) if one.row in ("", *spec.rows) and one.column in ("", *spec.columns)
    ]
    table = build_table({**found.records, **found.submitted}, spec, published, found.outcomes, found.ledger)
    return replace(table, quality=study.quality)


def _record(job: StudyJob, index: FileIndex) -> Record:
    """The record of a finished job; an ArtifactError if it is damaged, or of another run."""
    record = read_indexed(job.record_path, index)
    if record["run"] != job.hash:
        another = record["run"][:20]
        raise ArtifactError(f"{job.record_path}: the record of another run, {another}: move it to its own folder")
    return record


def published_results(study: StudyFile) -> tuple[PublishedResult, ...]:
    """The figures of ``published.csv`` beside the study's file, if it exists; a ConfigError names a wrong line."""
    path = study.file.parent / PUBLISHED_NAME
    return read_published(path, *study.names) if path.is_file() else ()


def render_table(table: Table, name: str) -> str:
    """The table in one of ``FORMATS``, as it is written to a file."""
    return str(resolve_name(FORMATS[name][1])(table))


def current_table(
    study: StudyFile, overrides: Sequence[str], config_dir: Path | None, project: str, metric: str | None
) -> tuple[Table, int, int]:
    """The table of a study's finished runs, on disk or in the W&B project ``ENTITY/PROJECT``; runs nothing.

    Returns:
        The table, how many jobs have a record, and how many jobs there are.

    Raises:
        ConfigError: no run is finished, or these are debug runs.
    """
    jobs = load_jobs(study, overrides, config_dir, need_records=not project)
    shown = jobs.named(study).model_copy(update={"metric": metric or study.metric})
    with TemporaryDirectory(prefix="trigan-") as folder:
        if project:
            jobs = _fetched(jobs, lambda: make_plan(study, overrides, config_dir), project, Path(folder))
        table = counted(study_table(shown, jobs.runnable, jobs.outputs), jobs.folder(study))
        done = len(jobs.done)
    if not any(cell.records for cell in table.cells.values()):
        raise no_finished_runs(study, f"in W&B's {project}" if project else f"under {jobs.runs}")
    return table, done, len(jobs)


def _fetched(jobs: StudyJobs, plan: Callable[[], "StudyPlan"], project: str, folder: Path) -> StudyJobs:
    """The jobs with their records from a W&B project, where a run's id is its hash, in ``folder``."""
    from trigan.tracking.wandb_tracking import fetch_records, public_api

    api = public_api()

    def fetch(jobs: Sequence[StudyJob]) -> tuple[StudyJob, ...]:
        fetch_records(api, project, [job.hash for job in jobs], folder, RECORD_NAME)
        return tuple(replace(job, record_path=folder / "runs" / job.hash / RECORD_NAME) for job in jobs)

    has_matched = len(jobs) > len(unmatched := [job for job in jobs.runnable if not job.row.match])
    jobs = replace(jobs, runnable=fetch(unmatched), waiting=())
    if not has_matched:
        return jobs
    later = plan().with_matched(jobs)
    return replace(later, runnable=jobs.runnable + fetch([job for job in later.runnable if job.row.match]))

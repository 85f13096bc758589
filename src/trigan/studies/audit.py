"""The audit of a study: what differs in C's training between its rows, before anything runs and in its records."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from trigan.component_ids import with_defaults, with_identifiers
from trigan.errors import ConfigError
from trigan.records.record import Record, read_record
from trigan.studies.jobs import StudyJob
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import GridEntry, StudyFile
from trigan.tables.classifier_differences import AuditDifference, AuditedRow, audited_row, compare_rows, undeclared


def audit_study(study: StudyFile, plan: StudyPlan, jobs: Sequence[StudyJob] = ()) -> dict[str, list[AuditDifference]]:
    """Column -> the differences of each row against the reference and, in the family, against each of its baselines.

    Settings are those of the composed configs. What was counted is read from the records of ``jobs`` that have one.
    """
    records: dict[tuple[str, str], Path] = {}
    for job in jobs:
        if job.done:
            records.setdefault((job.row.name, job.column.name), job.record_path)
    found = {}
    for column in study.columns:
        rows = {}
        for row in study.rows:
            path = records.get((row.name, column.name))
            record = read_record(path) if path is not None else None
            rows[row.name] = _audited(plan, row, column, study.trials[0], record)
        found[column.name] = [one for pair in pairs(study) for one in compare_rows(*(rows[name] for name in pair))]
    return found


def pairs(study: StudyFile) -> list[tuple[str, str]]:
    """Each row and a row that it is compared with: the reference, and its family's baselines."""
    rows, family = [row.name for row in study.rows], study.family
    chosen = [(row, study.reference) for row in rows if study.reference not in (None, row)]
    if family is not None:
        chosen += [(row, other) for row in family.rows for other in family.baselines if row != other]
    return list(dict.fromkeys((row, str(other)) for row, other in chosen))


def require_declared(study: StudyFile, differences: Iterable[AuditDifference]) -> list[str]:
    """A line for each undeclared difference; a ConfigError with the first of them if the study is strict."""
    lines = [difference_line(one) for one in undeclared(differences)]
    if lines and study.strict:
        more = f" (and {len(lines) - 1} more: `trigan audit {study.name}`)" if len(lines) > 1 else ""
        raise ConfigError(
            f"study {study.name} is strict: {lines[0]}{more}; set it in `fixed`, or name it in the row's `set` or "
            "`declares`"
        )
    return lines


def difference_line(one: AuditDifference) -> str:
    """``row against other: setting is value, not other``."""
    return f"{one.row} against {one.against}: {one.setting} is {one.value}, not {one.other}"


def _audited(plan: StudyPlan, row: GridEntry, column: GridEntry, trial: int, record: Record | None) -> AuditedRow:
    given = row.given
    if record is not None:
        return audited_row(record, row.name, given, row.declares)
    config = with_defaults(with_identifiers(plan.compose(StudyJob(row, column, trial)).config))
    return AuditedRow(row.name, config, given, row.declares)

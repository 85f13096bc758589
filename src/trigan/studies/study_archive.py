"""A study's archive: the records behind its tables in one file, from which a table is rebuilt without the runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

from trigan.atomic import checksum
from trigan.errors import ArtifactError, ConfigError, is_printable, printable
from trigan.records.config_keys import IGNORED_SETTINGS
from trigan.records.record import EXTERNAL, Record, parse_record
from trigan.records.record_archive import ArchivedRun, RecordArchive, read_archive, write_archive
from trigan.records.seal_ledger import sealed_key
from trigan.studies.job_cache import load_jobs
from trigan.studies.jobs import StudyJobs, no_finished_runs, variant_of
from trigan.studies.study_file import StudyFile
from trigan.studies.study_table import StudyRecords, read_study_records, table_of
from trigan.tables.image_outcomes import ImageOutcomes, pack_outcomes, unpack_outcomes
from trigan.tables.looks import LOOKS_FILE, find_look, read_looks
from trigan.tables.table import CellKey, Table, looked


def write_study_archive(
    path: Path, study: StudyFile, overrides: Sequence[str], config_dir: Path | None
) -> tuple[int, int, int]:
    """Write the records of a study's finished runs at its scale; the file keeps those of its other scales.

    Returns:
        How many jobs have a record, how many jobs there are, and how many runs are in the file.

    Raises:
        ConfigError: no run is finished, these are debug runs, or the file is the archive of another study.
        ArtifactError: a record, or the file, is damaged.
    """
    jobs = load_jobs(study, overrides, config_dir, need_records=True)
    named = jobs.named(study)
    found = read_study_records(named, jobs.runnable, jobs.outputs)
    if found.damaged:
        raise ArtifactError(f"not archived: {found.damaged[0]}")
    if not found.records:
        raise no_finished_runs(study, f"under {jobs.runs}")
    scale, earlier = study.scale or "", RecordArchive({"study": study.name, "tables": {}}, ())
    if path.exists():
        earlier = _checked(path, read_archive(path), study)
    places = [*found.records.items(), *found.submitted.items()]
    runs = [_archived(scale, place, one, found.outcomes) for place, group in places for one in group]
    about = {
        "study": study.name,
        "tables": {**earlier.about["tables"], scale: _about_table(study, jobs, named, found)},
    }
    kept = [run for run in earlier.runs if run.scale != scale]
    write_archive(path, RecordArchive(about, sorted([*kept, *runs])))
    return len(jobs.done), len(jobs), len(kept) + len(runs)


def archived_table(path: Path, study: StudyFile, metric: str | None) -> tuple[Table, int, int]:
    """The table of a study at its scale, from its archive; composes nothing.

    Returns:
        The table, how many jobs have a record, and how many jobs there are.

    Raises:
        ArtifactError: the file, a record in it, or what it says of test images, is damaged.
        ConfigError: it is the archive of another study, lacks the scale, or a row has other settings now.
    """
    archive = _checked(path, read_archive(path), study)
    scale, tables = study.scale or "", archive.about["tables"]
    if scale not in tables:
        known = ", ".join(name or "one without scales" for name in tables) or "none"
        raise ConfigError(f"{path}: has no table of scale {scale or 'none'}; it has {known}")
    runs = [run for run in archive.runs if run.scale == scale]
    try:
        about = tables[scale]
        _check_settings(path, about["settings"], _settings(study))
        found = _records(study, runs, about["ledger"])
        looks = [[int(trial) for trial in look] for look in about["looks"]]
        shown = variant_of(study, str(about["variant"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: {error}: restore it from a copy") from error
    table = table_of(shown.model_copy(update={"metric": metric or study.metric}), found)
    count = len(study.rows) * len(study.columns) * len(study.trials)
    return looked(table, partial(find_look, looks)), sum(map(len, found.records.values())), count


def _checked(path: Path, archive: RecordArchive, study: StudyFile) -> RecordArchive:
    about: Any = archive.about
    if not isinstance(about, dict) or not isinstance(about.get("tables"), dict):
        raise ArtifactError(f"{path}: no archive of a study: restore it from a copy")
    if about.get("study") != study.name:
        raise ConfigError(
            f"{path}: the archive of study {about.get('study')!r}, not of {study.name}; choose its own file"
        )
    return archive


def _about_table(study: StudyFile, jobs: StudyJobs, named: StudyFile, found: StudyRecords) -> dict[str, Any]:
    """What a table needs beside its records: the study's settings, the uses of its test sets, and its looks."""
    records = [one for part in (found.records, found.submitted) for group in part.values() for one in group]
    keys = {key for one in records if (key := sealed_key(one["result"]["split"])) is not None}
    return {
        "variant": jobs.variant,
        "settings": _settings(study),
        "ledger": [[*key, sorted(found.ledger.get(key, ()))] for key in sorted(keys)],
        "looks": read_looks(jobs.folder(named) / LOOKS_FILE),
    }


def _settings(study: StudyFile) -> dict[str, Any]:
    """What the study's file says of its jobs, by row and column."""
    matched = {row.name: [f"match: {row.match}"] if row.match else [] for row in study.rows}
    return {
        "fixed": list(study.fixed),
        "row": {row.name: [*row.set, *matched[row.name]] for row in study.rows},
        "column": {column.name: list(column.set) for column in study.columns},
    }


def _check_settings(path: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse records of a row or column that has been renamed, removed, or given other settings since."""
    again = "restore the study's file, or run the study and archive it again"
    for kind in ("row", "column"):
        for name, given in then[kind].items():
            if name not in now[kind]:
                raise ConfigError(f"{path}: {kind} {name!r} is none of the study's {kind}s: {again}")
            if given != now[kind][name]:
                raise ConfigError(f"{path}: {kind} {name!r} had {given}, the study has {now[kind][name]}: {again}")
    if then["fixed"] != now["fixed"]:
        raise ConfigError(f"{path}: its runs had the settings {then['fixed']}, the study has {now['fixed']}: {again}")


def _archived(scale: str, place: CellKey, record: Record, outcomes: Mapping[str, ImageOutcomes]) -> ArchivedRun:
    known = outcomes.get(record["run"])
    packed = "" if known is None else json.dumps(pack_outcomes(known), separators=(",", ":"))
    text = json.dumps(portable_record(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return ArchivedRun(scale, *place, text, packed)


def portable_record(record: Record) -> dict[str, Any]:
    """The record without what is about its machine alone: provenance, paths, devices, loggers, and places of data."""
    kept: dict[str, Any] = {**record, "config": _without(record["config"], IGNORED_SETTINGS), "provenance": {}}
    return {**kept, "checksum": checksum(kept)} if "checksum" in record else kept


def _without(config: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A nested config without the dotted keys."""
    names = set(keys)
    inner = {name: {key.partition(".")[2] for key in names if key.startswith(f"{name}.")} for name in config}
    return {
        name: _without(value, inner[name]) if inner[name] and isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in names
    }


def _records(study: StudyFile, runs: Iterable[ArchivedRun], ledger: Any) -> StudyRecords:
    """The records by place, checked as those on disk are; a ValueError says what is wrong."""
    parts: dict[bool, dict[CellKey, list[Record]]] = {False: {}, True: {}}
    outcomes, seen = dict[str, ImageOutcomes](), set[tuple[str, ...]]()
    rows, columns = {row.name for row in study.rows}, {column.name for column in study.columns}
    for run in runs:
        record = parse_record(run.record.encode())
        submitted = EXTERNAL in record["result"]["stamps"]
        if run.column not in columns or submitted == (run.row in rows) or not is_printable(run.row):
            raise ValueError(f"{printable(run.row)}, {printable(run.column)} is no cell of study {study.name}")
        if (place := (*astuple(run)[1:3], record["run"])) in seen:
            raise ValueError(f"run {record['run'][:12]} is twice in {run.row}, {run.column}")
        seen.add(place)
        parts[submitted].setdefault((run.row, run.column), []).append(record)
        if run.outcomes:
            try:
                outcomes[record["run"]] = unpack_outcomes(json.loads(run.outcomes), record)
            except (ValueError, TypeError) as error:
                raise ValueError(f"the test images of run {record['run'][:12]} are not its own ({error})") from error
    uses = {(data, test): frozenset(settings) for data, test, settings in ledger}
    return StudyRecords(parts[False], parts[True], outcomes, uses)

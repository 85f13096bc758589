"""Rows that other programs submitted: records under ``outputs/external``, found for the table of their study."""

from pathlib import Path
from typing import Any

from trigan.errors import ConfigError
from trigan.records.record import EXTERNAL, RECORD_NAME, Record, read_record
from trigan.tables.table import CellKey

#: Under the folder of outputs.
EXTERNAL_FOLDER = "external"


def external_records(outputs: Path) -> list[tuple[Path, Record]]:
    """All submitted records with their files, sorted by hash."""
    return [(path, read_record(path)) for path in sorted((outputs / EXTERNAL_FOLDER).glob(f"*/{RECORD_NAME}"))]


def submission_key(record: Record) -> dict[str, Any]:
    """What tells one submitted value from another: study, scale, row, column, trial, seed."""
    said = record["config"][EXTERNAL]
    return {**{key: said[key] for key in ("study", "scale", "row", "column")}, **_repeat(record)}


def _repeat(record: Record) -> dict[str, int]:
    return {"trial": record["tags"]["trial"], "seed": record["tags"]["seed"]}


def external_rows(
    outputs: Path, study: str, scale: str | None, columns: tuple[str, ...]
) -> dict[CellKey, list[Record]]:
    """The submitted records of a study at a scale, by place; rows are marked as external in their name.

    Raises:
        ConfigError: a record is for a column that the study has no more.
    """
    found: dict[CellKey, list[Record]] = {}
    for path, record in external_records(outputs):
        place = submission_key(record)
        if (place["study"], place["scale"]) != (study, scale):
            continue
        if place["column"] not in columns:
            raise ConfigError(
                f"{path} is for column {place['column']!r}, and study {study} has {', '.join(columns)}; "
                "remove its folder, or give the column its name back"
            )
        found.setdefault((f"{place['row']} ({EXTERNAL})", place["column"]), []).append(record)
    return found

"""Records of other programs' predictions (`trigan submit`), under ``outputs/external``."""

from pathlib import Path
from typing import Any

from trigan.errors import ConfigError
from trigan.records.record import EXTERNAL, RECORD_NAME, Record, read_record
from trigan.tables.table import CellKey

#: Below the outputs folder.
EXTERNAL_FOLDER = "external"


def external_records(outputs: Path) -> list[tuple[Path, Record]]:
    """All submitted records with their files, sorted by hash."""
    return [(path, read_record(path)) for path in sorted((outputs / EXTERNAL_FOLDER).glob(f"*/{RECORD_NAME}"))]


def submission_key(record: Record) -> dict[str, Any]:
    """What identifies a submitted value: study, scale, row, column, trial, seed."""
    submitted = record["config"][EXTERNAL]
    return {
        **{key: submitted[key] for key in ("study", "scale", "row", "column")},
        "trial": record["tags"]["trial"],
        "seed": record["tags"]["seed"],
    }


def external_rows(
    outputs: Path, study: str, scale: str | None, columns: tuple[str, ...]
) -> dict[CellKey, list[Record]]:
    """The submitted records of a study at a scale, by (row, column); row names end in ``(external)``.

    Raises:
        ConfigError: a record is for a column that the study no longer has.
    """
    records: dict[CellKey, list[Record]] = {}
    for path, record in external_records(outputs):
        key = submission_key(record)
        if (key["study"], key["scale"]) != (study, scale):
            continue
        if key["column"] not in columns:
            raise ConfigError(
                f"{path} is for column {key['column']!r}, and study {study} has {', '.join(columns)}; "
                "remove its folder, or rename the column back"
            )
        records.setdefault((f"{key['row']} ({EXTERNAL})", key["column"]), []).append(record)
    return records

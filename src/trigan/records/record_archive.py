"""A study's records in one Parquet file: plain text, compressed, with a checksum over all of it.

Reading it runs no code. What its footer says of sizes is checked before anything is read, and the texts are counted
while they are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from trigan.atomic import atomic_write, checksum
from trigan.errors import ArtifactError

#: Raise this when the columns, or what ``about`` holds, change.
VERSION = 1
_KEY = b"trigan"
#: The most runs, bytes of the file, and bytes of its texts.
MAX_RUNS, MAX_FILE, MAX_TEXT = 100_000, 1 << 28, 1 << 30
#: Runs that are read at a time.
_BATCH = 64


@dataclass(frozen=True, order=True)
class ArchivedRun:
    """A run's place in a table, its record as JSON, and which test images it got right, as JSON; empty: not known."""

    scale: str
    row: str
    column: str
    record: str
    outcomes: str


_COLUMNS = tuple(ArchivedRun.__dataclass_fields__)


@dataclass(frozen=True)
class RecordArchive:
    """What a file holds: ``about`` the study, plain JSON data, and the runs, in a fixed order."""

    about: Mapping[str, Any]
    runs: Sequence[ArchivedRun]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return checksum({"version": VERSION, "about": self.about, "runs": [astuple(run) for run in self.runs]})


def write_archive(path: Path, archive: RecordArchive) -> None:
    """Write the file atomically; equal archives give equal bytes with one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    header = {"version": VERSION, "about": archive.about, "checksum": archive.digest}
    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    # Long pages without a dictionary let the compressor find what the records have in common.
    layout: dict[str, Any] = {"use_dictionary": False, "write_statistics": False, "store_schema": False}
    layout |= {"compression": "zstd", "compression_level": 19, "data_page_size": MAX_FILE}
    with atomic_write(path) as file, pq.ParquetWriter(file, schema, **layout) as writer:
        writer.write_table(pa.Table.from_pylist([asdict(run) for run in archive.runs], schema))
        writer.add_key_value_metadata({_KEY: json.dumps(header, sort_keys=True)})


def read_archive(path: Path) -> RecordArchive:
    """The checked content of a file.

    Raises:
        ArtifactError: one line; it is no archive, is too large, or was damaged or changed.
    """
    try:
        return _read(path)
    except MemoryError as error:
        raise ArtifactError(f"{path}: needs more memory than there is") from error
    except Exception as error:  # pyarrow has a dozen kinds without a common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        again = "restore it from a copy, or write it again with `trigan table STUDY --archive FILE`"
        raise ArtifactError(f"{path}: no archive of records ({reason}): {again}") from error


def _read(path: Path) -> RecordArchive:
    import pyarrow.parquet as pq

    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"it has more than {MAX_FILE >> 20} MiB")
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        text = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        if metadata.num_rows > MAX_RUNS or not 0 <= text <= MAX_TEXT:
            raise ValueError(f"it has more than {MAX_RUNS:,} runs or {MAX_TEXT >> 20} MiB of text")
        names = tuple(file.schema_arrow.names)
        header = json.loads((metadata.metadata or {}).get(_KEY, b"null"))
        if header is None or names != _COLUMNS or {str(one.type) for one in file.schema_arrow} != {"string"}:
            raise ValueError("it was not written by `trigan table --archive`")
        if header["version"] != VERSION:
            raise ValueError(f"its version is {header['version']!r}, this trigan reads {VERSION}")
        archive = RecordArchive(header["about"], tuple(_runs(file)))
    if archive.digest != header["checksum"]:
        raise ValueError("its checksum differs, so it was changed or damaged after it was written")
    return archive


def _runs(file: Any) -> Iterator[ArchivedRun]:
    size = 0
    for batch in file.iter_batches(_BATCH):
        size += batch.nbytes
        if size > MAX_TEXT:
            raise ValueError(f"it has more than {MAX_TEXT >> 20} MiB of text")
        yield from (ArchivedRun(**run) for run in batch.to_pylist())

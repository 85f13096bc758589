"""Curves in files: ``metrics.jsonl``, which every run writes, and the CSV tables of ``logger=csv``."""

import csv
import errno
import io
import itertools
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.atomic import make_folder, share, wrap_os_errors, write_bytes
from trigan.component_ids import component
from trigan.errors import ArtifactError, plain_cell
from trigan.tracking.tracker import RunInfo, Tracker, Tracking

_log = logging.getLogger(__name__)


def _prepare(path: Path) -> None:
    """Make the file if it is missing, and remove an incomplete last line that a killed process left."""
    with wrap_os_errors(path):
        make_folder(path.parent)
        with path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        share(path)


def _append(path: Path, data: bytes) -> None:
    """Append all of ``data`` or nothing, and flush it to the disk, so that a power cut loses no row.

    When the disk fills up, a write may be cut short without an error.
    """
    with wrap_os_errors(path), path.open("ab", buffering=0) as file:
        size = file.tell()
        if file.write(data) != len(data):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())


class MetricsFile:
    """Appends one JSON object a line: ``{"stage": ..., "images": ..., key: value, ...}``.

    Each row is one system call, so a killed process loses no logged row. NaN and infinities are written as Python's
    ``json`` writes them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _prepare(path)

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Append one row; ``images`` is the number of real images that the stage has used.

        Raises:
            ArtifactError: the row cannot be written.
        """
        row = {"stage": stage, "images": int(images), **{key: float(value) for key, value in metrics.items()}}
        if len(row) != len(metrics) + 2:
            raise ValueError("'stage' and 'images' are reserved keys and cannot be metrics")
        _append(self.path, json.dumps(row).encode() + b"\n")

    def truncate_after(self, images: int) -> None:
        """Remove the rows after a checkpoint, since a resumed fit logs them again; and damaged rows, with a warning."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        rows = [_row(line) for line in lines]
        if damaged := rows.count(None):
            _log.warning("%s: %d damaged rows are left out of the curve", self.path, damaged)
        known = [(line, row) for line, row in zip(lines, rows, strict=True) if row is not None]
        kept = [line for line, _ in itertools.takewhile(lambda one: one[1]["images"] <= images, known)]
        if kept != lines:
            write_bytes(self.path, b"".join(kept))

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """All complete rows of the file, oldest first; empty if there is no file.

        Raises:
            ArtifactError: a row is damaged.
        """
        if not path.exists():
            return []
        with wrap_os_errors(path, "read"):
            lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        rows = [_row(line) for line in lines]
        if None in rows:
            raise ArtifactError(f"{path}: line {rows.index(None) + 1} is damaged: run its command again with --force")
        return [row for row in rows if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    """A row of a metrics file; None if the line is none."""
    try:
        row = json.loads(line)
        metrics = {key: value for key, value in row.items() if key != "stage"}
        sound = isinstance(row["stage"], str) and type(row["images"]) is int
        return row if sound and all(type(value) in (int, float) for value in metrics.values()) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@component("logger/csv@1")
@dataclass(frozen=True)
class CsvTracking(Tracking):
    """``logger=csv``: ``metrics.csv`` (stage, images, key, value), ``summary.csv`` and one CSV per confusion matrix."""

    def open(self, info: RunInfo, config: Mapping[str, Any]) -> Tracker:
        """Open or continue the tables in the run's directory."""
        return CsvTracker(info.directory)


class CsvTracker(Tracker):
    """Writes CSV tables; a restarted run adds only points that are not there yet.

    Images, artifacts and the record need no copy (they are files already), and the summary holds the per-class numbers.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "metrics.csv"
        _prepare(self.path)
        rows = list(csv.reader(self.path.read_text(errors="replace").replace("\0", "").splitlines()))
        if not rows:
            _append(self.path, csv_bytes([("stage", "images", "key", "value")]))
        self._written = {tuple(row[:3]) for row in rows}

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Append the points that are not in the table yet."""
        rows = [(stage, str(int(images)), key, repr(float(value))) for key, value in metrics.items()]
        new = [row for row in rows if row[:3] not in self._written]
        self._written.update(row[:3] for row in new)
        if new:
            _append(self.path, csv_bytes(new))

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Write the counts as a table of their own, named by ``key``."""
        rows = [("true \\ predicted", *class_names)]
        rows += [(name, *map(str, counts)) for name, counts in zip(class_names, matrix.tolist(), strict=True)]
        write_bytes(self.directory / f"{key.replace('/', '_')}.csv", csv_bytes(rows))

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Write ``summary.csv``, sorted by key."""
        rows = [("key", "value"), *((key, str(values[key])) for key in sorted(values))]
        write_bytes(self.directory / "summary.csv", csv_bytes(rows))


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """The rows as CSV in UTF-8, in which file names may be any bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([plain_cell(value) for value in row] for row in rows)
    return text.getvalue().encode(errors="surrogateescape")

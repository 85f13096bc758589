"""Curves in files: ``metrics.jsonl``, which every run writes, and the CSV tables of ``logger=csv``."""

import csv
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from trigan.components import component
from trigan.errors import ArtifactError
from trigan.tracking.tracker import RunInfo, TrackedArtifact, Tracker


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"cannot write {path}: {reason}; free some space or choose another directory") from error


def _open_whole_lines(path: Path) -> io.FileIO:
    """``path`` opened to append, after cutting off a last line that a killed process left without its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.FileIO(path, "a+")
    file.seek(0)
    file.truncate(file.readall().rfind(b"\n") + 1)
    return file


def _append(file: io.FileIO, data: bytes) -> None:
    """All of ``data`` or nothing of it; a disk that fills up in the middle takes only a part and says nothing."""
    size = os.fstat(file.fileno()).st_size
    if file.write(data) != len(data):
        file.truncate(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class MetricsFile:
    """Appends one JSON object a line: ``{"stage": ..., "images": ..., key: value, ...}``.

    A row is handed to the system in one write, so a killed process loses none of those it logged. NaN and infinities
    are written as Python's ``json`` writes them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _writing(path):
            self._file = _open_whole_lines(path)

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Appends one row; ``images`` is how many real images the stage has seen.

        Raises:
            ArtifactError: if the disk refuses.
        """
        row = {"stage": stage, "images": int(images), **{key: float(value) for key, value in metrics.items()}}
        if len(row) != len(metrics) + 2:
            raise ValueError("'stage' and 'images' name the row itself and can't be metrics")
        with _writing(self.path):
            _append(self._file, json.dumps(row).encode() + b"\n")

    def truncate_after(self, images: int, stage: str | None = None) -> None:
        """Drops what was written after the checkpoint at ``images``, so that resuming writes it once.

        The first row of ``stage`` (``None``: any) with more images goes, and all rows after it: they are later. The
        cut is one system call; a kill leaves the file before it or after it, nothing else.
        """
        offset = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            row = json.loads(line)
            if row["images"] > images and stage in (None, row["stage"]):
                break
            offset += len(line)
        with _writing(self.path):
            self._file.truncate(offset)

    def close(self) -> None:
        """Closes the file; rows are already written."""
        self._file.close()

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """All whole rows of the file, oldest first; none if there is no file."""
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@component("logger/csv@1")
@dataclass(frozen=True)
class CsvTracking:
    """``logger=csv``: ``metrics.csv`` (stage, images, key, value), ``summary.csv`` and one CSV per confusion matrix."""

    def open(self, info: RunInfo, config: Mapping[str, Any], directory: Path | None = None) -> Tracker:
        return CsvTracker(directory or info.directory)


class CsvTracker:
    """Writes tables that a spreadsheet opens; what a run that is started again logs twice is written once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "metrics.csv"
        with _writing(self.path):
            self._file = _open_whole_lines(self.path)
            rows = list(csv.reader(self.path.read_text().splitlines()))
            if not rows:
                _append(self._file, _csv([("stage", "images", "key", "value")]))
        self._written = {tuple(row[:3]) for row in rows}

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        rows = [(stage, str(int(images)), key, repr(float(value))) for key, value in metrics.items()]
        fresh = [row for row in rows if row[:3] not in self._written]
        self._written.update(row[:3] for row in fresh)
        if fresh:
            with _writing(self.path):
                _append(self._file, _csv(fresh))

    def log_image(self, key: str, path: Path, images: int) -> None:
        """Nothing: the picture lies in the run's directory already."""

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        rows = [("true \\ predicted", *class_names)]
        rows += [(name, *map(str, counts)) for name, counts in zip(class_names, matrix.tolist(), strict=True)]
        self._replace(f"{key.replace('/', '_')}.csv", rows)

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """Nothing: the summary has a key a class."""

    def log_summary(self, values: Mapping[str, Any]) -> None:
        self._replace("summary.csv", [("key", "value"), *((key, str(values[key])) for key in sorted(values))])

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """Nothing: it lies in the store already."""

    def log_record(self, path: Path) -> None:
        """Nothing: it lies in the run's directory already."""

    def finish(self, exit_code: int = 0) -> None:
        self._file.close()

    def _replace(self, name: str, rows: Sequence[tuple[str, ...]]) -> None:
        path = self.directory / name
        temporary = path.with_name(f".{name}.partial")
        with _writing(path):
            temporary.write_bytes(_csv(rows))
            os.replace(temporary, path)


def _csv(rows: Sequence[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()

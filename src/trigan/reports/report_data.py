"""What a report is made of: the table, and the files of its runs."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.errors import ArtifactError
from trigan.records.record import Record
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.layout.html import escape
from trigan.tables.table import Table

METRICS, PREDICTIONS, FEATURES, PICTURES = "metrics.jsonl", "predictions.npz", "features.npz", "pictures"
_MEND = "run its command again with --force"


@dataclass(frozen=True)
class ReportHeading:
    """What a study says of itself; ``words`` are (name, text) that stand under the claim."""

    title: str
    claim: str
    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ReportData:
    """A table and the folders of its runs, by run hash; a run that has none here (fetched, external) is not in it."""

    heading: ReportHeading
    table: Table
    folders: Mapping[str, Path]

    @property
    def text_format(self) -> TextFormat:
        """How numbers are written."""
        return TextFormat(self.table.metric)

    @property
    def scale(self) -> float:
        """What a score is multiplied by to be shown."""
        return 100.0 if self.table.metric.percent else 1.0

    @property
    def score(self) -> str:
        """What an axis of scores is called."""
        return f"test {self.table.metric.label}{', %' if self.table.metric.percent else ''}"

    def cells(self, column: str) -> Iterator[tuple[str, Cell]]:
        """The rows of a column that have a value, with their cells."""
        for row in self.table.spec.rows:
            cell = self.table.cells[row, column]
            if cell.values:
                yield row, cell

    def file(self, record: Record, name: str) -> Path | None:
        """A file or folder of a run, if it is there."""
        folder = self.folders.get(record["run"])
        return folder / name if folder is not None and (folder / name).exists() else None


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, its heading, and HTML."""

    anchor: str
    title: str
    body: str


def by_column(report: ReportData, parts: Mapping[str, str]) -> str:
    """Parts of a section by column, under headings where the table has more than one column."""
    if len(report.table.spec.columns) == 1:
        return "\n".join(parts.values())
    return "\n".join(f"<h3>{escape(column)}</h3>\n{part}" for column, part in parts.items())


def median_run(cell: Cell) -> Record:
    """The run that stands for a cell in pictures: of the trial with the median value (the lower of two), first seed."""
    ordered = sorted(cell.values, key=lambda trial: (cell.values[trial], trial))
    return cell.by_trial[ordered[(len(ordered) - 1) // 2]][0]


def median_run_text(report: ReportData, row: str, cell: Cell) -> str:
    """Which run stands for a cell, in words."""
    record = median_run(cell)
    trial = record["tags"]["trial"]
    median = f", {report.table.metric.label} {report.text_format.value(cell.values[trial])}" if cell.n > 2 else ""
    return f"{row}, trial {trial}{median}"


def class_names(record: Record) -> list[str]:
    """The names of the classes, or their numbers where the record names none."""
    data: Mapping[str, Any] = record["result"].get("data", {})  # type: ignore[assignment]
    return [str(name) for name in data.get("classes") or range(len(record["result"]["test"]["confusion"]))]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}): {_MEND}") from error


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, K) and labels (N,) of the test images.

    Raises:
        ArtifactError: the file is damaged.
    """
    scores, labels = _arrays(path, "scores", "labels")
    sound = scores.ndim == 2 and len(labels) > 0 and labels.shape == scores.shape[:1]
    if not sound or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ArtifactError(f"{path}: scores {scores.shape} and labels {labels.shape} do not belong together: {_MEND}")
    return scores, labels


def read_features(path: Path, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, F) of some of the ``images`` test images, and which ones, int (n,).

    Raises:
        ArtifactError: the file is damaged.
    """
    features, index = _arrays(path, "features", "index")
    sound = features.ndim == 2 and len(index) > 0 and index.shape == features.shape[:1]
    if not sound or index.min() < 0 or index.max() >= images:
        raise ArtifactError(f"{path}: features {features.shape} do not belong to {images} images: {_MEND}")
    return features, index


def _arrays(path: Path, values: str, whole: str) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of a file: numbers as float64, and whole numbers as they are."""
    try:
        with np.load(path) as file:
            return np.asarray(file[values], dtype=np.float64), np.asarray(file[whole])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}): {_MEND}") from error

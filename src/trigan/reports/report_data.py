"""The input of a report: the table and the files of its runs."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.errors import ArtifactError
from trigan.records.record import Record
from trigan.tables.cell import Cell
from trigan.tables.layout.formatting import TextFormat
from trigan.tables.stored_predictions import read_arrays
from trigan.tables.table import Table

METRICS, PREDICTIONS, FEATURES, PICTURES = "metrics.jsonl", "predictions.npz", "features.npz", "pictures"
_MEND = "run its command again with --force"


@dataclass(frozen=True)
class ReportData:
    """What a report is made of.

    Attributes:
        words: (name, text) to print under the table's title; those without a text are left out.
        folders: the runs' folders by run hash, without fetched and external runs.
    """

    words: tuple[tuple[str, str], ...]
    table: Table
    folders: Mapping[str, Path]

    @property
    def text_format(self) -> TextFormat:
        """How numbers are written."""
        return TextFormat(self.table.metric)

    @property
    def scale(self) -> float:
        """Factor from a score to its displayed number."""
        return 100.0 if self.table.metric.percent else 1.0

    @property
    def score(self) -> str:
        """Label of an axis of scores."""
        return self.table.metric.heading

    def subheading(self, column: str) -> str:
        """The heading of a column's part of a section; empty if the table has one column."""
        return column if len(self.table.spec.columns) > 1 else ""

    def cells(self, column: str) -> dict[str, Cell]:
        """The cells of a column that have a value, by row."""
        cells = {row: self.table.cells[row, column] for row in self.table.spec.rows}
        return {row: cell for row, cell in cells.items() if cell.values}

    def file(self, record: Record, name: str) -> Path | None:
        """A file or folder of a run, if it exists."""
        folder = self.folders.get(record["run"])
        return folder / name if folder is not None and (folder / name).exists() else None


def median_run(cell: Cell) -> Record:
    """The run shown for a cell: of the trial with the median value (the lower of two), first seed."""
    ordered = sorted(cell.values, key=lambda trial: (cell.values[trial], trial))
    return cell.by_trial[ordered[(len(ordered) - 1) // 2]][0]


def median_run_text(report: ReportData, row: str, cell: Cell) -> str:
    """The run shown for a cell, in words."""
    trial = median_run(cell)["tags"]["trial"]
    median = f", {report.table.metric.label} {report.text_format.value(cell.values[trial])}" if cell.n > 2 else ""
    return f"{row}, trial {trial}{median}"


def class_names(record: Record) -> list[str]:
    """The names of the classes, or their numbers if the record has no names."""
    names = record["result"].get("data", {}).get("classes")
    return [str(name) for name in names or range(len(record["result"]["test"]["confusion"]))]


@contextmanager
def wrap_damage(path: Path) -> Iterator[None]:
    """Turn an error of reading a file into an `ArtifactError` that names the file and what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, RecursionError, SyntaxError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}): {_MEND}") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; an `ArtifactError` if the file is damaged."""
    with wrap_damage(path):
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        if not all(isinstance(row, dict) and isinstance(row.get("images"), int) and "stage" in row for row in rows):
            raise ValueError("a line is no row of a curve")
        return rows


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, K) and labels (N,) of the test images."""
    return _arrays(path, "scores", "labels")


def read_features(path: Path, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, F) of some of the ``images`` test images, and their indices, int (n,)."""
    return _arrays(path, "features", "index", images)


def _arrays(path: Path, first: str, second: str, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of a file as float64 (n, F), n > 0, and for each row an index below ``limit`` (default F), int (n,).

    Raises:
        ArtifactError: the file is damaged.
    """
    with wrap_damage(path):
        file = read_arrays(path)
        values, index = np.asarray(file[first], dtype=np.float64), np.asarray(file[second])
    fits = values.ndim == 2 and len(index) > 0 and index.shape == values.shape[:1] and index.min() >= 0
    if not fits or index.max() >= (values.shape[1] if limit is None else limit):
        words = f"{first} {values.shape} and {second} {index.shape} do not belong together"
        raise ArtifactError(f"{path}: {words}: {_MEND}")
    return values, index

"""A study's jobs: rows x columns x trials, each a checked run with its hash, its record and its place in the table."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigan.artifacts.identity import canonical
from trigan.cli.compose import Composed, Composer
from trigan.cli.study_file import Line, StudyFile
from trigan.errors import ArtifactError, ConfigError

RECORD = "record.json"


@dataclass(frozen=True)
class Cell:
    """One job of a study. ``arguments``: what follows ``trigan run``."""

    row: Line
    column: Line
    trial: int
    arguments: tuple[str, ...]
    hash: str
    record: Path

    @property
    def name(self) -> str:
        return f"{self.row.name}, {self.column.name}, trial {self.trial}"

    @property
    def done(self) -> bool:
        return self.record.is_file()


class Plan:
    """Composes the jobs of a study, strictly, all of them before the first one runs.

    Args:
        overrides: the user's own, on top of every job's.

    Raises:
        ConfigError: an override takes from a job what makes it this row, column or trial.
    """

    def __init__(self, composer: Composer, study: StudyFile, overrides: Sequence[str] = ()) -> None:
        _refuse_clashes(study, overrides)
        self._composer, self._study, self._overrides = composer, study, tuple(overrides)
        self._fingerprints: dict[str, str] = {}

    def cells(self) -> list[Cell]:
        """The jobs that need no other job's record.

        Trials change fastest: neighbours in the queue then never wait for one another's GAN stage, and the next row
        finds it ready.
        """
        return [self._cell(row, column, trial, ()) for row, column, trial in self._grid() if not row.match]

    def first(self) -> Composed:
        """The first job, for what all of them share: paths and whether they are debug runs."""
        row, column, trial = self._grid()[0]
        return self._compose(row, column, trial, ())

    def runs(self, column: str, trial: int) -> dict[str, Composed]:
        """The runs of a column and trial by row, without those that wait for another's compute."""
        rows = [place for place in self._grid() if (place[1].name, place[2]) == (column, trial)]
        return {place[0].name: self._compose(*place, ()) for place in rows if not place[0].match}

    def variant(self) -> str:
        """The overrides if they change what the jobs compute, not only where and how; else an empty text."""
        row, column, trial = self._grid()[0]
        plain = Plan(self._composer, self._study)._compose(row, column, trial, ())
        return "" if plain.run_hash("") == self.first().run_hash("") else " ".join(self._overrides)

    def check_matched(self) -> int:
        """Compose the jobs that are given another's compute, with a stand-in for it, and give their number."""
        places = [place for place in self._grid() if place[0].match]
        for row, column, trial in places:
            self._compose(row, column, trial, _matched(1))
        return len(places)

    def matched(self, others: Iterable[Cell]) -> tuple[list[Cell], list[str]]:
        """The jobs that are given the compute of the dearest row of their column and trial.

        Returns:
            The jobs, and the names of those whose column and trial are not complete.
        """
        others = list(others)
        found, waiting = [], []
        for row, column, trial in self._grid():
            if not row.match:
                continue
            beside = [cell for cell in others if cell.column == column and cell.trial == trial]
            if all(cell.done for cell in beside):
                found.append(self._cell(row, column, trial, _matched(max(flops(cell.record) for cell in beside))))
            else:
                waiting.append(f"{row.name}, {column.name}, trial {trial}")
        return found, waiting

    def _grid(self) -> list[tuple[Line, Line, int]]:
        study = self._study
        return [(row, column, trial) for row in study.rows for column in study.columns for trial in study.trials]

    def _compose(self, row: Line, column: Line, trial: int, more: Sequence[str]) -> Composed:
        try:
            return self._composer.compose(self._arguments(row, column, trial, more))
        except ConfigError as error:
            raise ConfigError(f"row {row.name!r}, column {column.name!r}: {error}") from error

    def _arguments(self, row: Line, column: Line, trial: int, more: Sequence[str]) -> tuple[str, ...]:
        labels = (f"trial={trial}", f"study={quoted(self._study.name)}", f"row={quoted(row.name)}")
        return (*self._study.fixed, *column.set, *row.set, *more, *labels, *self._overrides)

    def _cell(self, row: Line, column: Line, trial: int, more: Sequence[str]) -> Cell:
        composed = self._compose(row, column, trial, more)
        run = composed.run_hash(self._fingerprint(composed))
        record = composed.paths.runs / run / RECORD
        return Cell(row, column, trial, self._arguments(row, column, trial, more), run, record)

    def _fingerprint(self, composed: Composed) -> str:
        key = canonical(composed.config["data"])
        if key not in self._fingerprints:
            self._fingerprints[key] = composed.load_data().fingerprint
        return self._fingerprints[key]


def _refuse_clashes(study: StudyFile, overrides: Sequence[str]) -> None:
    lines = [setting for line in (*study.rows, *study.columns) for setting in line.set]
    own = {setting.partition("=")[0] for setting in lines} | {"trial", "study", "row"}
    for override in overrides:
        key = override.partition("=")[0]
        clash = next(
            (name for name in sorted(own) if f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.")), None
        )
        if clash is not None:
            raise ConfigError(
                f"{override}: study {study.name} sets {clash} itself, job by job; edit a copy of its study.yaml, "
                f"or use `trigan run`"
            )


def flops(record: Path) -> int:
    """The counted cost of a finished run."""
    try:
        content: dict[str, Any] = json.loads(record.read_bytes())
        return int(content["result"]["cost"]["flops"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{record}: not a sound record; run its command again with --force") from error


def quoted(text: str) -> str:
    """A text as a value that Hydra reads back unchanged."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash counts as one unless a quote follows
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def _matched(operations: int) -> tuple[str, ...]:
    return (f"strategy.matched_flops={operations}",)

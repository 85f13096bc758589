"""The split of a run as a file for other programs, and whether such a file fits the data at hand."""

from pathlib import Path
from typing import Any

from trigan.atomic import write_bytes
from trigan.config.build import build
from trigan.config.compose import Composer, RunConfig
from trigan.config.suggest import nearest_hint
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.split_file import split_file_bytes, split_file_content
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import StudyFile


def study_run(
    composer: Composer, study: StudyFile, overrides: list[str], column: str | None, trial: int | None, row: str | None
) -> RunConfig:
    """The run of a study's row, column and trial.

    Raises:
        ConfigError: no such place, or no row is named and the rows differ in regime.
    """
    if trial not in study.trials:
        given = "is not given" if trial is None else trial
        raise ConfigError(f"--trial {given}: study {study.name} has {', '.join(map(str, study.trials))}")
    runs = StudyPlan(composer, study, overrides).runs(study.column(column), trial)
    if row is None:
        first, *others = runs.values()
        if any(other.config["regime"] != first.config["regime"] for other in others):
            raise ConfigError(f"--row is not given, and rows of study {study.name} differ in regime: {', '.join(runs)}")
        return first
    if row not in runs:
        raise ConfigError(f"--row {row}: no such row{nearest_hint(row, runs)}; rows: {', '.join(runs)}")
    return runs[row]


def data_and_split(composed: RunConfig) -> tuple[ImageDataset, DataSplit]:
    """The data set of a run, and its split."""
    source = composed.load_data()
    return source, draw_split(source, build({"regime": composed.config["regime"]}).regime, composed.trial)


def export_split(composed: RunConfig, file: Path) -> dict[str, Any]:
    """Draw the split of a run, write its file, and return the content.

    Raises:
        ConfigError: the run takes its split from a file already.
    """
    source, drawn = data_and_split(composed)
    if drawn.split_file_digest is not None:
        raise ConfigError("regime=from_file: the split of this run is a file already; copy it, or take another regime")
    if drawn.held_out is not None:
        raise ConfigError("regime.held_out_classes: a split file has all classes of its data; set it to []")
    paths = build({"data": composed.config["data"]}).data.paths()
    content = split_file_content(source, drawn, composed.config["regime"], paths)
    write_bytes(file, split_file_bytes(content))
    return content

"""The settings that a search has chosen for the rows and columns of a study, in one file under ``outputs/search``."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trigan.atomic import write_json
from trigan.config.settings_file import check_settings
from trigan.errors import ConfigError
from trigan.studies.job_cache import cache_path
from trigan.studies.study_file import StudyFile

#: Row -> column -> settings, those of ``tuned`` included.
TunedSettings = Mapping[str, Mapping[str, tuple[str, ...]]]


def tuned_path(study: StudyFile, overrides: Sequence[str], config_dir: Path | None, trials: int) -> Path:
    """The file of ``trials`` search trials a row; its name changes with anything that may change a search."""
    plain = cache_path(study.with_tuned(0, {}), overrides, config_dir)
    return plain.parents[2] / "search" / "studies" / f"{plain.stem}-{trials}.json"


def write_tuned(
    study: StudyFile, overrides: Sequence[str], config_dir: Path | None, trials: int, tuned: TunedSettings
) -> StudyFile:
    """Keep the settings, and return the study with them."""
    content = {row: {column: list(words) for column, words in found.items()} for row, found in tuned.items()}
    write_json(tuned_path(study, overrides, config_dir, trials), content)
    return study.with_tuned(trials, tuned)


def read_tuned(study: StudyFile, overrides: Sequence[str], config_dir: Path | None, trials: int | None) -> StudyFile:
    """The study with its tuned settings; as it is where ``trials`` is None.

    Raises:
        ConfigError: no such search has ended.
    """
    if trials is None:
        return study
    path = tuned_path(study, overrides, config_dir, trials)
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        tuned = {row: {column: tuple(words) for column, words in found.items()} for row, found in content.items()}
        check_settings(word for found in tuned.values() for words in found.values() for word in words)
        return study.with_tuned(trials, tuned)
    raise ConfigError(
        f"--tuned {trials}: no finished search of study {study.name} with these settings; "
        f"`trigan study {study.name} --tuned {trials}` runs it"
    )

"""The interface of trackers: the names of a run, its artifacts, and what can be logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trigan.component_ids import component

#: What a remote service receives of an artifact: nothing, its metadata, or its files too.
ArtifactDetail = Literal["none", "metadata", "full"]


def short_error(error: BaseException) -> str:
    """An error's message as one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@dataclass(frozen=True)
class RunInfo:
    """How a run is named and grouped among others.

    ``id`` is the run hash; ``group`` the runs that differ in their trial alone; ``job_type`` the strategy; ``tags``
    values to filter by (``data:digits``, ``trial:3``). Trackers write in ``directory``, the run's, and in the folder of
    their own settings.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    directory: Path


@dataclass(frozen=True)
class TrackedArtifact:
    """A content-addressed artifact (stage or sample set): equal content has the same name in all runs.

    ``name`` is kind and digest (``gan-0123456789ab``); ``metadata`` a few plain values that help people identify it;
    ``description`` the full one, identical in every run; ``used``: a later stage of this run takes it as input.
    """

    name: str
    kind: str
    metadata: Mapping[str, Any]
    description: Mapping[str, Any]
    files: Mapping[str, Path]
    used: bool


class Tracker:
    """An open run. This base class discards everything; a subclass overrides the methods for what it keeps.

    Methods return nothing that training could depend on. Trackers of a remote service never raise. ``id`` is the run's
    in that service.
    """

    id: str | None = None

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Log curve points, ``stage/split/quantity`` -> value, after ``stage`` has used ``images`` real images."""

    def log_image(self, key: str, path: Path, images: int) -> None:
        """Log an image file in the run's directory; ``images`` is the count of the stage that ``key`` begins with."""

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Log counts (K, K): rows are true classes, columns predicted ones."""

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """Log one number for each class name; None where it is undefined."""

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Log the run's results (``test/accuracy``, ``cost/flops``); every strategy has the same keys."""

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """Log an artifact that the run made or used, for its lineage across runs."""

    def log_record(self, path: Path) -> None:
        """Log the record file of a finished run; the last call before ``finish``."""

    def finish(self, exit_code: int = 0) -> None:
        """Close the run; 0 is success. Further calls do nothing."""


@component("logger/none@1")
@dataclass(frozen=True)
class Tracking:
    """A logger's settings, as ``conf/logger`` builds them; this base class is ``logger=none``, the run's own files."""

    def check_installed(self) -> None:
        """Raise a ConfigError if the logger needs a package that is not installed."""

    def open(self, info: RunInfo, config: Mapping[str, Any]) -> Tracker:
        """Open or continue the run; ``config`` is the resolved one, as plain data."""
        return Tracker()


class Trackers(Tracker):
    """Several open runs as one, for ``logger=[wandb,tensorboard]``; ``id`` is that of the one that has an id."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers
        self.id = next((one.id for one in trackers if one.id is not None), None)

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._each("log", stage, images, metrics)

    def log_image(self, key: str, path: Path, images: int) -> None:
        """See `Tracker`."""
        self._each("log_image", key, path, images)

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """See `Tracker`."""
        self._each("log_confusion_matrix", key, matrix, class_names)

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """See `Tracker`."""
        self._each("log_per_class", key, values)

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._each("log_summary", values)

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """See `Tracker`."""
        self._each("log_artifact", tracked)

    def log_record(self, path: Path) -> None:
        """See `Tracker`."""
        self._each("log_record", path)

    def finish(self, exit_code: int = 0) -> None:
        """See `Tracker`."""
        self._each("finish", exit_code)

    def _each(self, method: str, *arguments: Any) -> None:
        for tracker in self._trackers:
            getattr(tracker, method)(*arguments)


def loggers_of(logger: Tracking | Mapping[str, Tracking]) -> list[Tracking]:
    """The loggers of the config node ``logger``: one by name for each choice, or a user's own without a name."""
    return [logger] if isinstance(logger, Tracking) else list(logger.values())


def open_all(loggers: Sequence[Tracking], info: RunInfo, config: Mapping[str, Any]) -> Tracker:
    """One tracker for all loggers."""
    trackers = [one.open(info, config) for one in loggers]
    return trackers[0] if len(trackers) == 1 else Trackers(trackers)

"""What a tracker can be told, what a run is called, and the tracker that keeps nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trigan.components import component


@dataclass(frozen=True)
class RunInfo:
    """How a run appears beside others.

    Attributes:
        id: the run hash; the same id is the same run, also when it is started again.
        name: what people read.
        group: what is compared with each other (a study, or data and regime).
        job_type: the strategy.
        tags: what one filters by (architecture, loss, trial).
        directory: the run's directory; a tracker writes nowhere else.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    directory: Path


@dataclass(frozen=True)
class TrackedArtifact:
    """Something that a run made or stands on, known by its content: the same content is the same thing in all runs.

    Attributes:
        name: kind and digest (``gan-0123456789ab``).
        kind: ``gan``, ``samples``, ``classifier``, ...
        metadata: a few plain values by which people tell it from others.
        description: all that is known of it, as plain data that is the same whichever run says it.
        files: what it consists of, by name; large.
        used: whether this run went on from it, be it made here or found.
    """

    name: str
    kind: str
    metadata: Mapping[str, Any]
    description: Mapping[str, Any]
    files: Mapping[str, Path]
    used: bool


class Tracker(Protocol):
    """An open run. Every method only observes; those of a remote service never raise."""

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Curve points of ``stage`` after it has seen ``images`` real images; keys as ``stage/split/quantity``."""
        ...

    def log_image(self, key: str, path: Path, images: int) -> None:
        """A picture file that lies in the run's directory; ``images`` as the stage in ``key`` counts them."""
        ...

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Counts (K, K), rows true and columns predicted classes, with K names."""
        ...

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """One number a class, by its name; None where the class has none."""
        ...

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """The run's results (``test/accuracy``, ``cost/flops``): the same keys for every strategy."""
        ...

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """A thing that the run made or used, so that its descent can be followed over runs."""
        ...

    def log_record(self, path: Path) -> None:
        """The record of a finished run, as it lies on disk: the last that is told before ``finish``."""
        ...

    def finish(self, exit_code: int = 0) -> None:
        """Closes the run; 0 is success. Calling it again does nothing."""
        ...


class Tracking(Protocol):
    """What ``conf/logger`` builds."""

    def open(self, info: RunInfo, config: Mapping[str, Any], directory: Path | None = None) -> Tracker:
        """Opens the run, or goes on with it; ``config`` is plain data, ``directory`` defaults to ``info.directory``."""
        ...


@component("logger/none@1")
@dataclass(frozen=True)
class NoTracking:
    """``logger=none``: nothing but the run's own files."""

    def open(self, info: RunInfo, config: Mapping[str, Any], directory: Path | None = None) -> Tracker:
        return NullTracker()


class NullTracker:
    """A tracker that keeps nothing."""

    def log(self, stage: str, images: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def log_image(self, key: str, path: Path, images: int) -> None:
        """Nothing."""

    def log_confusion_matrix(self, key: str, matrix: np.ndarray, class_names: Sequence[str]) -> None:
        """Nothing."""

    def log_per_class(self, key: str, values: Mapping[str, float | None]) -> None:
        """Nothing."""

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def log_artifact(self, tracked: TrackedArtifact) -> None:
        """Nothing."""

    def log_record(self, path: Path) -> None:
        """Nothing."""

    def finish(self, exit_code: int = 0) -> None:
        """Nothing."""

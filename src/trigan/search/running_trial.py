"""A trial whose child process is running."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from trigan.execution.job import Job, log_name
from trigan.runs.validation_run import VALIDATION_CURVE_NAME

#: Validations before which no trial is pruned: averaged weights improve slowly at first.
_PATIENCE = 3


@dataclass
class RunningTrial:
    """A trial of this worker.

    Attributes:
        strategy_index: position of the trial's strategy in the search.
        logs: folder of the trials' logs.
        record_path: where the child writes its record; empty for a point that makes no sense, which has no child.
        pruned: whether it was ended for its validations.
        flops: counted so far, as far as the validation curve tells.
    """

    strategy_index: int
    trial: optuna.Trial
    job: Job
    logs: Path
    record_path: Path = Path()

    def __post_init__(self) -> None:
        self.since = time.monotonic()
        self.pruned = False
        self.flops: int | None = None
        self._offset, self._images, self._count = 0, 0, 0

    @property
    def log(self) -> Path:
        """The log of the child process."""
        return self.logs / log_name(self.job.name)

    @property
    def seconds(self) -> float:
        """Seconds since the trial began."""
        return round(time.monotonic() - self.since, 3)

    def set_attribute(self, name: str, value: Any) -> None:
        """Write an attribute of the trial, unless another worker took this one for dead and ended the trial."""
        with suppress(UpdateFinishedTrialError):
            self.trial.set_user_attr(name, value)

    def should_prune(self, images: int, accuracy: float) -> bool:
        """Report one validation to the study; whether the trial should be pruned for it."""
        self._count += 1
        try:
            self.trial.report(accuracy, images)
        except UpdateFinishedTrialError:
            return False
        return self._count >= _PATIENCE and self.trial.should_prune()

    def new_validations(self) -> Iterator[tuple[int, float]]:
        """Validations since the last call: images that C was trained on, and the best accuracy so far.

        A run that resumes from a checkpoint may write a validation twice; it counts once. A line that a killed attempt
        left incomplete is skipped, with what the next attempt appended to it.
        """
        curve = self.record_path.with_name(VALIDATION_CURVE_NAME)
        if not curve.exists():
            return
        with curve.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                with suppress(ValueError, KeyError, TypeError):
                    row = json.loads(line)
                    if row["images"] > self._images:
                        self._images, self.flops = row["images"], row["flops"]
                        yield row["images"], row["accuracy"]

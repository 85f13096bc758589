"""A trial whose child process is at work."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.execution.job import Job, log_name

if TYPE_CHECKING:
    import optuna

#: Looks before which no trial is ended: averages start slowly.
_PATIENCE = 3


@dataclass
class RunningTrial:
    """``strategy_index``: which strategy's; ``ended_at``: when it was first asked to end; ``flops``: as far as its looks tell."""

    strategy_index: int
    trial: "optuna.Trial"
    job: Job
    logs: Path
    record_path: Path | None = None
    validation_curve: Path | None = None

    def __post_init__(self) -> None:
        self.since = time.monotonic()
        self.pruned = self.timed_out = False
        self.ended_at = 0.0
        self.flops: int | None = None
        self._read, self._images, self._count = 0, 0, 0

    @property
    def log(self) -> Path:
        return self.logs / log_name(self.job.name)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.since, 3)

    def set_attribute(self, name: str, value: Any) -> None:
        """Write an attribute of the trial, unless another worker took it for dead and ended it."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            self.trial.set_user_attr(name, value)

    def should_prune(self, images: int, accuracy: float) -> bool:
        """Tell the study of a look; whether the trial is to be ended for it."""
        from optuna.exceptions import UpdateFinishedTrialError

        self._count += 1
        try:
            self.trial.report(accuracy, images)
        except UpdateFinishedTrialError:
            return False
        return self._count >= _PATIENCE and self.trial.should_prune()

    def new_validations(self) -> Iterator[tuple[int, float]]:
        """Looks since the last call: images that C has seen, and the best accuracy so far.

        A run that goes on from a checkpoint may say a look twice; it counts once.
        """
        if self.validation_curve is None or not self.validation_curve.exists():
            return
        with self.validation_curve.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                row = json.loads(line)
                if row["images"] > self._images:
                    self._images, self.flops = row["images"], row["flops"]
                    yield row["images"], row["accuracy"]

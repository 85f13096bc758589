"""What a tracker is shown of a stage, whoever trained it: its curves, and pictures of samples along them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.plots import sample_grids
from trigan.plots.plot_style import no_result_lost
from trigan.tracking import MetricsFile, Tracker
from trigan.training.callbacks import METRICS_NAME, REAL_NAME, SPEED_NAME, sample_file
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule


@dataclass(frozen=True)
class StageView:
    """The view of the stage ``name`` with its files in ``directory``; ``picture`` shows its newest samples.

    ``real``: the picture has real training images beside the samples.
    """

    name: str
    directory: Path
    tracker: Tracker
    picture: Path
    class_names: Sequence[str]
    real: bool

    def show_all(self, networks: Any) -> None:
        """Log all curves and samples in the stage's directory; the tracker drops what it has already."""
        speed = {row["images"]: row for row in MetricsFile.read(self.directory / SPEED_NAME)}
        for row in MetricsFile.read(self.directory / METRICS_NAME):
            images = row["images"]
            metrics = {key: value for key, value in (row | speed.get(images, {})).items() if key not in _NO_METRICS}
            self.tracker.log(self.name, images, metrics)
            self.show_samples(networks, images)

    def show_samples(self, networks: Any, images: int) -> None:
        """Draw and log the samples after so many images, if they were saved."""
        samples, real = self.directory / sample_file(images), self.directory / REAL_NAME
        if not samples.is_file():
            return
        with no_result_lost():
            beside = np.load(real) if self.real and real.is_file() else None
            names = self.class_names if networks["generator"].classes == len(self.class_names) else ()
            sample_grids.save_sample_grid(np.load(samples), self.picture, names, beside)
            self.tracker.log_image(f"{self.name}/samples", self.picture, images)


_NO_METRICS = ("stage", "images")


class ShowStage(FitCallback):
    """Shows a stage during its fit; what an earlier attempt logged comes first."""

    def __init__(self, view: StageView) -> None:
        self._view = view

    def on_fit_start(self, module: PlayersModule) -> None:
        """Show what there is up to the checkpoint."""
        if module.completed_steps:
            self._view.show_all(module.networks)

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Show new samples."""
        self._view.show_samples(module.networks, module.completed_steps * module.plan.batch)

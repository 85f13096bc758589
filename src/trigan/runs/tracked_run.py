"""What trackers are shown of a run, whoever trained its stages: names as a person reads them, curves and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.config.compose import RunConfig
from trigan.plots import sample_grids
from trigan.plots.plot_style import no_result_lost
from trigan.runs.trained_run import RunLocation
from trigan.tracking import MetricsFile, RunInfo, Tracker
from trigan.training.callbacks import METRICS_NAME, REAL_NAME, SPEED_NAME, sample_file
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule

_NO_METRICS = ("stage", "images")
_PUBLIC = ("cifar10", "cifar100", "digits", "fashion_mnist", "kmnist", "mnist", "stl10", "svhn")


def run_info(composed: RunConfig, location: RunLocation) -> RunInfo:
    """The run's names: runs that differ in their trial alone share a group.

    A validation-only run has an id of its own, as the ordinary run of the same settings has the same hash.
    """
    config, choices = composed.config, composed.choices
    data, strategy = f"{data_name(composed)} {labels_name(config['regime'])}", str(choices.get("strategy"))
    study, row = config.get("study"), config.get("row") or strategy
    only = ("validation-only",) if location.validation_only else ()
    chosen = {"data": data_name(composed), "labels": labels_name(config["regime"])}
    chosen |= {name: str(choices.get(name)) for name in ("architecture", "loss")}
    return RunInfo(
        id="-".join((location.run, *only)),
        name=f"{data} {row} #{composed.trial}",
        group=f"{study}/{row}/{data}" if study else f"{data}/{row}",
        job_type=strategy,
        tags=(*(f"{key}:{name}" for key, name in chosen.items()), f"trial:{composed.trial}", *only),
        directory=location.directory,
    )


def tracked_config(composed: RunConfig) -> dict[str, Any]:
    """The config for trackers, with ``choices``: the names of what was chosen, flat, to filter and group by."""
    chosen = {group.replace("/", "_"): one for group, one in composed.choices.items() if one and "@" not in group}
    named = {"data": data_name(composed), "labels": labels_name(composed.config["regime"])}
    return {**composed.config, "choices": {**chosen, **named}}


def shows_real_images(composed: RunConfig) -> bool:
    """Whether trackers may show training images: those of a public data set, or of any if the user asks for them."""
    return composed.choices.get("data") in _PUBLIC or composed.config["callbacks"].get("real_columns") is not None


def data_name(composed: RunConfig) -> str:
    """The data set's name; of the user's own images that of the repository, folder or file."""
    data = composed.config["data"]
    own = composed.choices.get("data") in ("folder", "hub", "npz", "table")
    return Path(str(data.get("repo") or data["root"])).name if own else str(composed.choices.get("data"))


def labels_name(regime: dict[str, Any]) -> str:
    """``10/class``, ``5% labels``, ``all labels`` or ``split file``, and whether there is imbalance or noise."""
    number, fraction = regime.get("labels_per_class"), regime.get("fraction")
    if "labels_per_class" not in regime:
        return "split file"
    amount = f"{number}/class" if number else f"{100 * fraction:g}% labels" if fraction else "all labels"
    return " ".join((amount, *(name for name in ("imbalance", "noise") if regime.get(name))))


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

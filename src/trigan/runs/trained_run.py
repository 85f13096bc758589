"""What a run works on: its configuration, its place on disk, its data and its trained networks.

While a strategy trains and while its networks are scored, the process holds no hidden label and no test label: a data
set is loaded, divided and released, and loaded again for the test set. Only the view and `RunData` stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.config.build import build
from trigan.config.compose import RunConfig
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.external_data import with_external
from trigan.datasets.splits.splitter import DataSplit, ExternalDataInfo, SplitInfo
from trigan.datasets.types import DataSpec, ImageDataset, LabelledImages, TrainingView
from trigan.errors import DataError
from trigan.identity import weights_digest
from trigan.runs.scoring.fit_curve import CurveImages, curve_images, hidden_images
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import Outcome
from trigan.tracking import Tracker


@dataclass(frozen=True)
class RunLocation:
    """Where a run is stored: its hash and the path of its record, which exists if and only if the run is finished."""

    run: str
    record: Path
    validation_only: bool = False

    @property
    def directory(self) -> Path:
        """The run's directory."""
        return self.record.parent


@dataclass(frozen=True)
class RunData:
    """What a run knows of its data while it trains: no image, no label, no index into the source.

    ``split_file_digest`` is None for a drawn split; ``external`` describes the other data set in the view, if any;
    ``curve`` names the images on which snapshots of C are scored, if there are any.
    """

    spec: DataSpec
    class_names: tuple[str, ...]
    info: SplitInfo
    split_file_digest: str | None = None
    external: ExternalDataInfo | None = None
    curve: CurveImages | None = None

    @property
    def fingerprint(self) -> str:
        """Of the data set."""
        return self.info.fingerprint


@dataclass(frozen=True)
class TrainedRun:
    """A run whose training has ended, before it is scored.

    ``data_used`` counts what the strategy took from its view, by kind (L, U, V, X);
    ``started`` is in seconds since 1970.
    """

    run_config: RunConfig
    location: RunLocation
    data: RunData
    outcome: Outcome
    data_used: Mapping[str, int]
    runner: StageRunner
    tracker: Tracker
    started: float

    @property
    def stages(self) -> list[TrainedStage]:
        """The stages that the run used, each once, in the order of their first use."""
        return list({stage.digest: stage for stage in self.runner.trained_stages}.values())


def divide_data(run_config: RunConfig, dataset: ImageDataset) -> tuple[TrainingView, RunData]:
    """The view of the run's strategy and the description of its data; nothing else of ``dataset`` is kept."""
    split = _split(run_config, dataset)
    if (other := run_config.load_external()) is not None:
        split = with_external(split, dataset, other)
    snapshots = run_config.config["selection"]["snapshots"]
    curve = None if snapshots is None else curve_images(run_config, dataset, split)
    about = split.info, split.split_file_digest, split.external
    data = RunData(split.view.spec, split.class_names, *about, curve)
    return split.view, data


def held_out_images(
    run_config: RunConfig, data: RunData, frozen: str | None
) -> tuple[dict[str, LabelledImages], dict[str, Tensor]]:
    """``training`` and ``validation``, if there are such images; for the digest of ``frozen`` networks also ``test``.

    ``training`` has -1 as label of unlabelled images. With ``test`` come ``novel``, the test images of held-out
    classes, and ``hidden_labels``, if a curve is drawn on them. Also ``rows``, the source indices of the test images
    (n_test,), and ``groups``, if the data set has groups.

    The data set is loaded and divided again, so this costs some seconds for a large one.

    Raises:
        DataError: it is not the data set that the run was trained on.
    """
    dataset = run_config.load_data()
    split = _split(run_config, dataset)
    if split.info != data.info:
        raise DataError("the data set or its split file has changed since this run began; run the same command again")
    parts = {"training": training_images(split.view)}
    parts |= {"validation": split.view.validation} if split.view.validation is not None else {}
    rows = {"rows": torch.from_numpy(split.parts.test)}
    if split.test_groups is not None:
        rows["groups"] = torch.from_numpy(split.test_groups)
    if frozen is None:
        return parts, rows
    if data.curve == "hidden_labels":
        parts["hidden_labels"] = hidden_images(dataset, split)
    if split.held_out is not None:
        parts["novel"] = split.held_out.sealed.open(frozen)
    return {**parts, "test": split.test.open(frozen)}, rows


def training_images(view: TrainingView) -> LabelledImages:
    """All training images in the trial's order, with the labels that a strategy may see, else -1."""
    labels = torch.cat([view.labelled.labels, torch.full((view.sizes.unlabelled,), -1)])
    return LabelledImages(view.training_images, labels[view.order])


def _split(run_config: RunConfig, dataset: ImageDataset) -> DataSplit:
    regime: Any = build({"regime": run_config.config["regime"]}).regime
    return draw_split(dataset, regime, run_config.trial)


def weights_digests(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """The digest of each network's weights, sorted by name."""
    return {name: weights_digest(network.state_dict()) for name, network in sorted(networks.items())}

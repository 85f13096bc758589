"""What the end of a run works on: its configuration, its place on disk, its data and its trained networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from trigan.config.compose import RunConfig
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.identity import weights_digest
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
class TrainedRun:
    """A run whose training has ended, before it is scored. ``started`` is in seconds since 1970."""

    run_config: RunConfig
    location: RunLocation
    dataset: ImageDataset
    split: DataSplit
    outcome: Outcome
    runner: StageRunner
    tracker: Tracker
    started: float

    @property
    def stages(self) -> list[TrainedStage]:
        """The stages that the run used, each once, in the order of their first use."""
        return list({stage.digest: stage for stage in self.runner.trained_stages}.values())


def weights_digests(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """The digest of each network's weights, sorted by name."""
    return {name: weights_digest(network.state_dict()) for name, network in sorted(networks.items())}

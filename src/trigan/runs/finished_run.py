"""A finished run, opened for use: found by path or hash, its strategy rebuilt from its record, its weights loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trigan.atomic import wrap_os_errors
from trigan.components import with_targets
from trigan.config import schema
from trigan.config.allow_list import check_targets, targets
from trigan.config.build import build
from trigan.config.suggest import nearest_hint
from trigan.data.types import DataSpec
from trigan.errors import ArtifactError, ConfigError, TriganError
from trigan.identity import weights_digest
from trigan.records.record import MIN_HASH_PREFIX, RECORD_NAME, Record, read_record
from trigan.runs.provenance import source_commit

#: Where runs lie under the folder of outputs.
_RUNS = ("runs", "debug/runs")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What a run left, ready for use.

    Attributes:
        directory: of the run.
        record: its record.
        spec: shapes of its images and labels.
        classes: K names, in label order.
        networks: ``classifier`` and maybe ``generator``, in evaluation mode, on one device.
    """

    directory: Path
    record: Record
    spec: DataSpec
    classes: tuple[str, ...]
    networks: dict[str, nn.Module]

    @property
    def run(self) -> str:
        return self.record["run"]

    @property
    def probabilistic(self) -> bool:
        """Whether the softmax of the classifier's outputs means anything: the record has a likelihood then."""
        return "nll" in self.record["result"]["test"]

    @property
    def classifier(self) -> nn.Module:
        return self.networks["classifier"]

    @property
    def generator(self) -> Any:
        """The run's generator.

        Raises:
            ConfigError: it has none.
        """
        if "generator" not in self.networks:
            strategy = self.record["tags"]["strategy"]
            raise ConfigError(
                f"run {self.run[:12]} ({strategy}) has no generator; take a run of strategy=joint, or of augment or "
                "features with a GAN that they trained"
            )
        return self.networks["generator"]


def find_run(named: str, outputs: Path) -> Path:
    """The directory of the run that ``named`` (a path, or the start of a hash) means.

    Raises:
        ConfigError: none or several.
    """
    path = Path(named).expanduser()
    if path.name == RECORD_NAME and path.is_file():
        return path.parent
    if named and path.is_dir():
        return path
    runs = {found.name: found for place in _RUNS for found in (outputs / place).glob("[0-9a-f]*") if found.is_dir()}
    where = " or ".join(str(outputs / place) for place in _RUNS)
    if "/" in named or not named:
        raise ConfigError(f"RUN={named}: no such directory; give a run's directory or the start of its hash")
    chosen = sorted(run for run in runs if run.startswith(named))
    if chosen and len(named) < MIN_HASH_PREFIX:
        raise ConfigError(f"RUN={named}: too short; give at least {MIN_HASH_PREFIX} characters of the hash")
    if not chosen:
        there = nearest_hint(named, runs) if runs else "; there are no runs"
        raise ConfigError(f"RUN={named}: no run under {where} starts so{there}")
    if len(chosen) > 1:
        raise ConfigError(f"RUN={named}: {len(chosen)} runs start so: {', '.join(run[:12] for run in chosen[:4])}")
    return runs[chosen[0]]


def open_run(directory: Path, own: Sequence[str] = (), device: torch.device | None = None) -> FinishedRun:
    """The run of a directory; ``own`` are modules of the user's that its config may name."""
    if not (directory / RECORD_NAME).is_file():
        raise ArtifactError(f"{directory} holds no finished run (no {RECORD_NAME}); the `trigan run` of it goes on")
    record = read_record(directory / RECORD_NAME)
    data: Any = record["result"].get("data")
    try:
        spec, classes = DataSpec(**data["spec"]), tuple(str(name) for name in data["classes"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{directory / RECORD_NAME}: result.data is missing or damaged: run it again") from error
    states = {path.stem: _state(path) for path in sorted((directory / "weights").glob("*.safetensors"))}
    networks = _networks(_strategy(record, own), spec, states, directory)
    for player, network in networks.items():
        _load(network, states[player], directory, player, record["result"]["weights"].get(player))
        network.to(device or torch.device("cpu"))
    return FinishedRun(directory, record, spec, classes, networks)


def image_column_of(record: Record) -> str:
    """The name of the image column of the run's data, ``image`` where its source has no columns."""
    node: Any = record["config"].get("data")
    for key in ("source", "columns", "image"):
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, str) else "image"


def _strategy(record: Record, own: Sequence[str]) -> Any:
    """The record's strategy, built after the checks that a command line's config passes: it comes from a file."""
    config = _config(record)
    if next(targets(config), None) is None:
        raise ArtifactError(f"run {record['run'][:12]}: its record names no strategy: run it again")
    try:
        check_targets(config, own)
        schema.check(config, {}, own)
    except ConfigError as error:
        fault = str(error).replace("'runtime.allow=[module]'", "--allow MODULE")
        raise ConfigError(f"run {record['run'][:12]}: {fault}{_of_another_commit(record)}") from error
    return build(config).strategy


def _config(record: Record) -> dict[str, Any]:
    try:
        return {"strategy": with_targets(record["config"].get("strategy"))}
    except ConfigError as error:
        raise ConfigError(f"run {record['run'][:12]}: {error}{_of_another_commit(record)}") from error


def _of_another_commit(record: Record) -> str:
    """What may be the cause where a record's settings are refused, and the mend; nothing if this source made it."""
    theirs, ours = record["provenance"].get("commit"), source_commit()
    if theirs is None or theirs == ours:
        return ""
    return (
        f" (commit {theirs[:12]} made it, this is {(ours or 'another')[:12]}: open it with that one, or run it again)"
    )


def _state(path: Path) -> dict[str, Tensor]:
    with wrap_os_errors(path, "read"):
        data = path.read_bytes()
    try:
        return load(data)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged ({error}): run the same command again with --force") from error


def _networks(
    strategy: Any, spec: DataSpec, states: dict[str, dict[str, Tensor]], directory: Path
) -> dict[str, nn.Module]:
    if "classifier" not in states:
        raise ArtifactError(f"{directory}/weights has no classifier.safetensors: run the same command with --force")
    shapes = {player: {name: tuple(t.shape) for name, t in state.items()} for player, state in states.items()}
    try:
        networks: dict[str, nn.Module] = strategy.skeleton(spec, shapes)
    except TriganError:
        raise
    except Exception as error:  # whatever the classes that a record names make of its weights and settings
        raise _misfit(directory, "classifier") from error
    missing = sorted(set(networks) - set(states))
    if missing:
        raise ArtifactError(f"{directory}/weights has no {missing[0]}.safetensors: run the same command with --force")
    return networks


def _load(network: nn.Module, state: dict[str, Tensor], directory: Path, player: str, expected: str | None) -> None:
    if weights_digest(state) != expected:
        raise ArtifactError(
            f"{directory}/weights/{player}.safetensors is not what the run wrote (its digest differs from the "
            "record's): run the same command with --force"
        )
    wide = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
    try:
        network.to(wide).load_state_dict(state)
    except RuntimeError as error:
        raise _misfit(directory, player) from error
    network.eval().requires_grad_(False)


def _misfit(directory: Path, player: str) -> ArtifactError:
    return ArtifactError(
        f"{directory}/weights/{player}.safetensors does not fit the network that the record describes; it was written "
        "by another version of the code: run the same command with --force"
    )

"""A finished run opened for use: found by path or hash, its networks rebuilt from its record, its weights loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from trigan.atomic import wrap_os_errors
from trigan.component_ids import with_targets
from trigan.config import schema
from trigan.config.allow_list import check_targets
from trigan.config.build import build
from trigan.config.nodes import targets
from trigan.config.settings import LABEL_THRESHOLD
from trigan.config.suggest import nearest_hint
from trigan.datasets.types import DataSpec
from trigan.errors import ArtifactError, ConfigError, DataError, TriganError
from trigan.identity import weights_digest
from trigan.networks.foreign_layers import with_our_layers
from trigan.records.record import MIN_HASH_PREFIX, RECORD_NAME, Record, read_record
from trigan.runs.provenance import source_commit
from trigan.samples.collect import Quota, labelled_samples
from trigan.samples.filters import outputs as outputs_of
from trigan.samples.samplers import UNCHANGED_LATENTS, GeneratorSampler, LatentTransform


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run, ready for use.

    ``classes`` are K names in label order; ``networks``: ``classifier`` and maybe ``generator``, in evaluation mode.
    """

    directory: Path
    record: Record
    spec: DataSpec
    classes: tuple[str, ...]
    networks: dict[str, nn.Module]

    @property
    def run(self) -> str:
        """The run hash."""
        return self.record["run"]

    @property
    def diverged(self) -> bool:
        """Whether training diverged; the networks then have their last finite weights."""
        return bool(self.record["result"]["status"] == "diverged")

    @property
    def probabilistic(self) -> bool:
        """Whether the softmax of the logits gives probabilities; the record has a likelihood only then."""
        return "nll" in self.record["result"]["test"]

    @property
    def classifier(self) -> nn.Module:
        """Images float (N, C, S, S) in [-1, 1] -> logits (N, K)."""
        return self.networks["classifier"]

    @property
    def generator(self) -> Any:
        """The run's generator; a ConfigError if it has none."""
        if "generator" not in self.networks:
            strategy = self.record["tags"]["strategy"]
            raise ConfigError(
                f"run {self.run[:12]} ({strategy}) has no generator; choose a run of strategy=joint, or of augment or "
                "features with a GAN that they trained"
            )
        return self.networks["generator"]

    def sampler(self, latent_transform: LatentTransform = UNCHANGED_LATENTS) -> GeneratorSampler:
        """The samples of the run's generator; a ConfigError if it has none."""
        return GeneratorSampler(self.generator, latent_transform)

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S), uint8 or float in [-1, 1] -> the classifier's logits, float32 (N, K) on the CPU."""
        shape = (self.spec.channels, self.spec.size, self.spec.size)
        if images.ndim != 4 or images.shape[1:] != shape:
            raise DataError(f"images: expected shape (N, {', '.join(map(str, shape))}), got {tuple(images.shape)}")
        return outputs_of(self.classifier, images) if len(images) else torch.empty(0, len(self.classes))

    def sample(self, labels: Tensor | Sequence[int], seed: int = 0) -> Tensor:
        """Generated images of the given classes; image i depends on the generator, the seed, i and the labels alone.

        A conditional generator takes label i for its sample number i. The samples of an unconditional generator are
        labelled by the classifier, where its probability is at least ``LABEL_THRESHOLD`` (any, if the logits give no
        probabilities), and used in their order.

        Args:
            labels: (N,) in 0..K-1.
            seed: of the latents.

        Returns:
            uint8 (N, C, S, S) on the CPU.

        Raises:
            ConfigError: the run has no generator, or a label is out of range.
            ArtifactError: too few samples of a class were found.
        """
        labels = torch.as_tensor(labels, dtype=torch.int64).reshape(-1)
        classes, sampler = len(self.classes), self.sampler()
        if not len(labels):
            return torch.empty(0, self.spec.channels, self.spec.size, self.spec.size, dtype=torch.uint8)
        if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ConfigError(f"labels: expected 0..{classes - 1}, got {int(labels.min())}..{int(labels.max())}")
        if sampler.conditional:
            return sampler.sample(torch.arange(len(labels)), labels, seed)
        counts = torch.bincount(labels, minlength=classes)
        quota = Quota(counts)
        threshold = LABEL_THRESHOLD if self.probabilistic else 0.0
        drawn = list(labelled_samples(sampler, self.classifier, seed, quota, threshold))
        if lacking := int(quota.missing.sum()):
            raise ArtifactError(
                f"run {self.run[:12]}: {lacking} of {len(labels)} images were not found in "
                f"{quota.n_candidates} samples; choose a run that was trained longer"
            )
        images, found = (torch.cat(part) for part in zip(*drawn, strict=True))
        ordered = torch.empty_like(images)
        ordered[labels.argsort(stable=True)] = images[found.argsort(stable=True)]
        return ordered


def open_run(
    directory_or_hash: str | Path,
    outputs: Path = Path("outputs"),
    allow: Sequence[str] = (),
    device: str | torch.device | None = None,
) -> FinishedRun:
    """Open a finished run.

    Args:
        directory_or_hash: the run's directory, its record, or the first characters of its hash.
        outputs: the folder where a hash is looked up.
        allow: the user's own modules that the run's config may name.
        device: of the networks: cpu (the default), cuda, cuda:1.

    Raises:
        ConfigError: there is no such run, or its config names what is not on the allow-list.
        ArtifactError: it is not finished, or its files are damaged.
    """
    target = _device(device)
    directory = find_run(str(directory_or_hash), outputs)
    if not (directory / RECORD_NAME).is_file():
        raise ArtifactError(f"{directory} holds no finished run (no {RECORD_NAME}); its `trigan run` command continues")
    record = read_record(directory / RECORD_NAME)
    data: Any = record["result"].get("data")
    try:
        spec, classes = DataSpec(**data["spec"]), tuple(str(name) for name in data["classes"])
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{directory / RECORD_NAME}: result.data is missing or damaged: run it again") from error
    weights: Any = record["result"]["weights"]
    networks = _load_networks(_strategy(record, allow), spec, directory / "weights", weights)
    for network in networks.values():
        network.to(target)
    return FinishedRun(directory, record, spec, classes, networks)


def find_run(name: str, outputs: Path) -> Path:
    """The directory of the run with this path or first characters of a hash; a ConfigError unless there is one."""
    path = Path(name).expanduser()
    if path.name == RECORD_NAME and path.is_file():
        return path.parent
    if name and path.is_dir():
        return path
    if "/" in name or not name:
        raise ConfigError(f"RUN={name}: no such directory; give a run's directory or the start of its hash")
    folders = [outputs / "runs", outputs / "debug/runs"]
    runs = {path.name: path for folder in folders for path in folder.glob("[0-9a-f]*") if path.is_dir()}
    chosen = sorted(run for run in runs if run.startswith(name))
    if chosen and len(name) < MIN_HASH_PREFIX:
        raise ConfigError(f"RUN={name}: too short; give at least {MIN_HASH_PREFIX} characters of the hash")
    if not chosen:
        hint = nearest_hint(name, runs) if runs else "; there are no runs"
        raise ConfigError(f"RUN={name}: no run under {' or '.join(map(str, folders))} has this hash{hint}")
    if len(chosen) > 1:
        raise ConfigError(f"RUN={name}: {len(chosen)} runs match: {', '.join(run[:12] for run in chosen[:4])}")
    return runs[chosen[0]]


def _device(name: str | torch.device | None) -> torch.device:
    try:
        device = torch.device(name or "cpu")
    except RuntimeError as error:
        raise ConfigError(f"device={name}: no such device; give cpu, cuda or cuda:1") from error
    missing = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device={name}: torch finds no such device here; give cpu")
    return device


def _strategy(record: Record, allow: Sequence[str]) -> Any:
    """The record's strategy, built after the checks that a command line passes: a record is an untrusted file."""
    run, node = record["run"][:12], record["config"].get("strategy")
    try:
        config = {"strategy": with_targets(node)}
        if next(targets(config), None) is None:
            raise ArtifactError(f"run {run}: its record names no strategy: run it again")
        check_targets(config, allow)
        schema.check(config, {}, allow)
    except ConfigError as error:
        message = str(error).replace("'runtime.allow=[module]'", "--allow MODULE")
        raise ConfigError(f"run {run}: {message}{_other_commit(record)}") from error
    return build(config).strategy


def _other_commit(record: Record) -> str:
    """A likely cause and a mend where a record's settings are refused; nothing if this commit wrote the record."""
    theirs, ours = record["provenance"].get("commit"), source_commit()
    if theirs is None or theirs == ours:
        return ""
    return (
        f" (commit {theirs[:12]} made it, this is {(ours or 'another')[:12]}: open it with that one, or run it again)"
    )


def _read_weights(path: Path) -> dict[str, Tensor]:
    with wrap_os_errors(path, "read"):
        data = path.read_bytes()
    try:
        return load(data)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged ({error}): run the same command again with --force") from error


def _load_networks(strategy: Any, spec: DataSpec, folder: Path, digests: dict[str, str]) -> dict[str, nn.Module]:
    """The networks of a strategy with the weights of a folder, which have these digests by player."""
    states = {path.stem: _read_weights(path) for path in sorted(folder.glob("*.safetensors"))}
    shapes = {player: {name: tuple(t.shape) for name, t in state.items()} for player, state in states.items()}
    player = "classifier"
    try:
        built: dict[str, nn.Module] = strategy.skeleton(spec, shapes) if player in states else {}
        networks = {name: with_our_layers(name, network) for name, network in built.items()}
        players = sorted({player, *networks})
        for player in players:
            if player not in states:
                raise ArtifactError(f"{folder} has no {player}.safetensors: run the same command with --force")
            state = states[player]
            if weights_digest(state) != digests.get(player):
                raise ArtifactError(
                    f"{folder}/{player}.safetensors is not what the run wrote (its digest differs from the record's): "
                    "run the same command with --force"
                )
            dtype = next((value.dtype for value in state.values() if value.is_floating_point()), torch.float32)
            networks[player].to(dtype).load_state_dict(state)
            networks[player].eval().requires_grad_(False)
    except TriganError:
        raise
    except Exception as error:  # classes that a record names may fail in any way on its weights and settings
        raise ArtifactError(
            f"{folder}/{player}.safetensors does not fit the network that the record describes; it was written by "
            "another version of the code: run the same command with --force"
        ) from error
    return networks

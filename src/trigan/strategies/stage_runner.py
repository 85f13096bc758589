"""The stage runner: trains the stages of strategies, each once per store, and counts their full cost."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import nn

from trigan import distributed
from trigan.artifacts.store import StageHandle, Store
from trigan.atomic import write_bytes, write_text
from trigan.cost import Cost, count_flops
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.types import DataSpec
from trigan.errors import TriganError
from trigan.identity import canonical_form, digest, tensor_digest
from trigan.networks.classifiers.pretrained import pretrained_weights
from trigan.networks.foreign_layers import with_our_layers
from trigan.training.fit import FitCallback, TrainerSettings, fit
from trigan.training.players import PlayersModule
from trigan.training.stage import Stage, StageContext
from trigan.version import PROTOCOL_VERSION

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: File beside the checkpoints of an unfinished stage: the seconds that its earlier attempts took.
_SECONDS = "seconds"


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage, with its networks in evaluation mode and the full cost of their training.

    Attributes:
        name: the stage's name in this run.
        status: ``finished`` or ``diverged``.
        step: the last step, or the selected one.
        reused: whether the stage was in the store already, under any name.
        seconds: duration of the training over all attempts; None if unknown.
        images_before: images that an earlier stage had used to train the same classifier.
        classifier: what was counted of C's training (`classifier_counts`); empty for a stage without C.
        notes: ``diverged``, if the fit did: why, with the player and the batch; ``events``, if there were any: what the
            collapse watch saw and did (`trigan.training.collapse_watch.WatchState`).
    """

    name: str
    kind: str
    digest: str
    networks: dict[str, Any]
    cost: Cost
    status: str
    step: int
    directory: Path
    reused: bool
    seconds: float | None = None
    images_before: int = 0
    classifier: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def snapshots(self) -> dict[int, Any]:
        """Copies of the classifier during the fit, by images used; empty unless ``selection.snapshots`` is set."""
        snapshots = self.networks["snapshots"].by_images_seen() if "snapshots" in self.networks else {}
        return {self.images_before + images: network for images, network in snapshots.items()}


@dataclass
class StageRunner:
    """Trains stages, or loads them from the store, and counts their full cost in either case.

    ``callbacks`` makes those of each fit, from the stage's name and a directory to write to; ``on_reuse`` is called
    once for each stage taken from the store.
    """

    store: Store
    run: str
    spec: DataSpec
    seed: int
    settings: TrainerSettings
    max_steps: int | None = None
    callbacks: Callable[[str, Path], Sequence[FitCallback]] = lambda name, directory: ()
    on_reuse: Callable[[TrainedStage], None] = lambda trained: None
    trained_stages: list[TrainedStage] = field(default_factory=list, init=False)
    task_costs: dict[str, Cost] = field(default_factory=dict, init=False)

    @property
    def status(self) -> str:
        """``diverged`` if any stage diverged, else ``finished``."""
        return "diverged" if any(trained.status == "diverged" for trained in self.trained_stages) else "finished"

    def train(self, name: str, stage: Stage, inputs: Inputs, seed: int | None = None) -> TrainedStage:
        """Load the stage from the store, or train it, starting from the last checkpoint of an earlier attempt.

        ``name`` is the stage's name in this run; ``seed`` is the runner's by default. After an error the stage's
        checkpoints stay in the store for the next attempt.
        """
        context = self._context(self.seed if seed is None else seed, self.max_steps)
        identity = self._identity(stage, inputs, context)
        key = digest(identity, 32)
        waiting = partial(_log.info, "%s: another process is training this very stage; waiting for it", name)
        main = distributed.rank() == 0
        with self.store.stage(key, identity, stage.kind, waiting) if main else nullcontext() as handle:
            if handle is not None:
                self.store.add_user(key, self.run)  # before the fit, since checkpoints are in use too
            reused = distributed.broadcast(handle is not None and handle.ready)
            networks = self._load(stage, handle) if reused else self._fit(name, stage, inputs, context, handle)
            content = (handle.manifest, handle.directory) if handle is not None else None
            manifest, directory = distributed.broadcast(content)
            cost, seconds = Cost(**manifest["cost"]), manifest.get("seconds")
            result = manifest["status"], manifest["step"]
            counted, noted = manifest.get("classifier", {}), ("diverged", "events")
            notes = {name: manifest[name] for name in noted if name in manifest}
            trained = TrainedStage(
                name, stage.kind, key, networks, cost, *result, directory, reused, seconds, 0, counted, notes
            )
            if why := notes.get("diverged"):
                _log.warning("%s diverged: %s; weights of batch %d are used", name, why, trained.step)
            if reused and all(key != earlier.digest for earlier in self.trained_stages):
                self.on_reuse(trained)
        self.trained_stages.append(trained)
        return trained

    def run_task(self, name: str, task: Callable[[], T]) -> T:
        """Run a task without a fit (sampling, feature extraction) and count its operations under ``name``."""
        results: list[T] = []
        flops = count_flops(lambda: results.append(task()))
        self.task_costs[name] = self.task_costs.get(name, Cost()) + Cost(flops)
        return results[0]

    def measure_flops(self, stage: Stage, inputs: Inputs, steps: int = 1) -> tuple[int, int]:
        """Operations of the first ``steps`` steps, and of a pass over the validation images; the fit is discarded."""
        module = stage.build(self._context(self.seed, steps), inputs)
        fit(module, self.settings)
        return module.flops - module.flops_per_validation, module.flops_per_validation

    def total_cost(self) -> Cost:
        """The cost of all stages, each counted once, and of all tasks."""
        stages = {trained.digest: trained.cost for trained in self.trained_stages}
        return sum([*stages.values(), *self.task_costs.values()], Cost())

    def _context(self, seed: int, max_steps: int | None) -> StageContext:
        return StageContext(self.spec, seed, self.settings, max_steps)

    def _identity(self, stage: Stage, inputs: Inputs, context: StageContext) -> dict[str, Any]:
        return {
            "stage": canonical_form(stage),
            "spec": canonical_form(self.spec),
            "settings": canonical_form(self.settings),
            "max_steps": self.max_steps,
            "seed": context.seed,
            "inputs": {name: _input_digest(data) for name, data in sorted(inputs.items())},
            "protocol": PROTOCOL_VERSION,
        }

    def _load(self, stage: Stage, handle: StageHandle | None) -> dict[str, nn.Module]:
        """The networks of a finished stage."""
        networks = {player: with_our_layers(player, network) for player, network in stage.skeleton(self.spec).items()}
        files = {}
        if handle is not None:
            files = {player: (handle.directory / f"{player}.safetensors").read_bytes() for player in networks}
        files = distributed.broadcast(files)
        for player, network in networks.items():
            network.to(self.settings.device, self.settings.dtype).load_state_dict(load(files[player]))
            network.eval()
        return networks

    def _fit(
        self, name: str, stage: Stage, inputs: Inputs, context: StageContext, handle: StageHandle | None
    ) -> dict[str, nn.Module]:
        """Train a stage, and commit its networks with their cost."""
        started = time.monotonic() - (_earlier_seconds(handle.checkpoints) if handle is not None else 0)
        module = stage.build(context, inputs)
        callbacks = self.callbacks(name, handle.directory) if handle is not None else ()
        try:
            result = fit(module, self.settings, handle.checkpoints if handle is not None else None, callbacks)
        except BaseException:
            if handle is not None:
                with suppress(TriganError):  # on a full disk the first error is the one to report
                    write_text(handle.checkpoints / _SECONDS, str(time.monotonic() - started))
            raise
        module.to(self.settings.device)  # Lightning leaves the module on the CPU
        networks = stage.finish(module, inputs)
        for network in networks.values():  # the memory format of loaded networks, for bit-equal results
            network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        selected = int(module.selector.step) if module.selector is not None else 0
        if handle is not None:
            for player, network in networks.items():
                state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
                write_bytes(handle.directory / f"{player}.safetensors", save(state))
            cost, seconds = {"flops": module.flops, "images": dict(module.images)}, time.monotonic() - started
            manifest = {"cost": cost, "status": result.status, "step": selected or result.step}
            counted = {**classifier_counts(module), **({"diverged": result.reason} if result.reason else {})}
            if module.watch is not None and module.watch.events:
                counted["events"] = module.watch.events
            handle.commit({**manifest, **counted, "seconds": round(seconds, 3)})
        return networks


def classifier_counts(module: PlayersModule) -> dict[str, Any]:
    """Of a fit that trains C: its updates, the images that they were shown and how, and those of its statistics.

    ``pretrained``, if there are any: SHA-256 of files of weights that the fit began with.
    """
    counts = module.classifier_counts
    if not counts:
        return {}
    images = {key.removeprefix("images/"): n for key, n in sorted(counts.items()) if key.startswith("images/")}
    augmented: dict[str, list[dict[str, Any]]] = {}
    for key, number in sorted(counts.items()):
        if key.startswith("augmented/"):
            _, stream, view, text = key.split("/", 3)
            one = {"view": view, "augmentation": json.loads(text), "images": number}
            augmented.setdefault(stream, []).append(one)
    counted = {"updates": counts["updates"], "images": images, "augmented": augmented}
    if weights := pretrained_weights(module):
        counted["pretrained"] = weights
    return {"classifier": {**counted, "statistics": module.statistics_images}}


def _input_digest(data: Input) -> str:
    tensors = tensor_digest(data.images, data.labels)
    return digest([tensors, data.parts]) if data.parts else tensors


def _earlier_seconds(checkpoints: Path) -> float:
    """Seconds that earlier attempts took; 0 if there were none, or if they were killed."""
    try:
        return float((checkpoints / _SECONDS).read_text())
    except (OSError, ValueError):
        return 0.0

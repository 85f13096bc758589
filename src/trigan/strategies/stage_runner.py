"""The runner: where strategies have their stages done, each once in the store, and all of it is counted."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save

from trigan import PROTOCOL_VERSION
from trigan.artifacts.store import StageHandle, Store
from trigan.atomic import write_bytes, write_text
from trigan.cost import Cost, count_flops
from trigan.data.inputs import Input, Inputs
from trigan.data.types import DataSpec
from trigan.errors import TriganError
from trigan.identity import canonical_form, digest, tensor_digest
from trigan.training import distributed
from trigan.training.fit import FitCallback, TrainerSettings, fit
from trigan.training.players import PlayersModule
from trigan.training.stage import Stage, StageContext

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: Makes the callbacks of a fit, given the stage's name and the directory that it may write to.
CallbackFactory = Callable[[str, Path], Sequence[FitCallback]]

#: Beside the checkpoints of an unfinished stage: the seconds that its earlier attempts took.
_SECONDS = "seconds"


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage: its networks in evaluation mode, what it cost, and where its files lie.

    ``name`` is what this run calls it; ``reused``: it was in the store already, maybe under another run's name for it.
    ``seconds``: what its training took, over all attempts; None where that was not kept. ``images_before``: images that
    another stage had shown the classifier when this one began.
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

    @property
    def snapshots(self) -> dict[int, Any]:
        """The classifier along the fit, by images seen; empty where ``selection.snapshots`` asked for none."""
        taken = self.networks["snapshots"].by_images_seen() if "snapshots" in self.networks else {}
        return {self.images_before + images: network for images, network in taken.items()}


@dataclass
class StageRunner:
    """Does stages and counts what they cost; every stage is charged in full, whoever trained it.

    ``on_reuse`` is told of each stage that was taken from the store, once.
    """

    store: Store
    run: str
    spec: DataSpec
    seed: int
    settings: TrainerSettings
    max_steps: int | None = None
    callbacks: CallbackFactory = lambda name, directory: ()
    on_reuse: Callable[[TrainedStage], None] = lambda trained: None
    trained_stages: list[TrainedStage] = field(default_factory=list, init=False)
    task_costs: dict[str, Cost] = field(default_factory=dict, init=False)

    def train(self, name: str, stage: Stage, inputs: Inputs, seed: int | None = None) -> TrainedStage:
        """The stage on these inputs: taken from the store, or trained (going on where an earlier attempt stopped).

        Raises:
            TriganError: as the stage does; what was trained so far stays in the store for the next attempt.
        """
        context = self._context(self.seed if seed is None else seed)
        identity = self._identity(stage, inputs, context)
        key = digest(identity, 32)
        held = (
            self.store.stage(key, identity, stage.kind, self._waiting(name))
            if distributed.rank() == 0
            else nullcontext()
        )
        with held as slot:
            if slot is not None:
                self.store.add_user(key, self.run)  # before the fit: what is half done is needed, too
            if distributed.broadcast(slot is not None and slot.ready):
                trained = self._load(name, key, stage, slot)
                if all(key != earlier.digest for earlier in self.trained_stages):
                    self.on_reuse(trained)
            else:
                trained = self._fit(name, key, stage, inputs, context, slot)
        self.trained_stages.append(trained)
        return trained

    def run_task(self, name: str, task: Callable[[], T]) -> T:
        """Do a task outside any fit (sampling, feature extraction) and charge its floating-point operations."""
        results: list[T] = []
        flops = count_flops(lambda: results.append(task()))
        self.task_costs[name] = self.task_costs.get(name, Cost()) + Cost(flops)
        return results[0]

    def flops_per_step(self, stage: Stage, inputs: Inputs) -> tuple[int, int]:
        """What one step of the stage costs, and one look at the validation images; measured once, nothing is kept."""
        module = self._tried(stage, inputs, 1)
        return module.flops - module.flops_per_validation, module.flops_per_validation

    def flops_of_steps(self, stage: Stage, inputs: Inputs, steps: int) -> int:
        """What the first ``steps`` steps of the stage cost; they are taken, and nothing is kept."""
        return self._tried(stage, inputs, steps).flops

    def _tried(self, stage: Stage, inputs: Inputs, steps: int) -> PlayersModule:
        module = stage.build(replace(self._context(self.seed), max_steps=steps), inputs)
        fit(module, self.settings)
        return module

    def total_cost(self) -> Cost:
        """The cost of all stages and all further work."""
        once = {trained.digest: trained.cost for trained in self.trained_stages}
        return sum([*once.values(), *self.task_costs.values()], Cost())

    def _context(self, seed: int) -> StageContext:
        return StageContext(self.spec, seed, self.settings, self.settings.device, self.max_steps)

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

    def _waiting(self, name: str) -> Callable[[], None]:
        return lambda: _log.info("%s: another process is training this very stage; waiting for it", name)

    def _load(self, name: str, key: str, stage: Stage, slot: StageHandle | None) -> TrainedStage:
        networks = stage.skeleton(self.spec)
        box = None
        if slot is not None:
            files = {player: (slot.directory / f"{player}.safetensors").read_bytes() for player in networks}
            box = (files, slot.manifest, slot.directory)
        files, manifest, directory = distributed.broadcast(box)
        for player, network in networks.items():
            network.to(self.settings.device, self.settings.dtype).load_state_dict(load(files[player]))
            network.eval()
        cost = Cost(manifest["cost"]["flops"], manifest["cost"]["images"])
        status, step, seconds = manifest["status"], manifest["step"], manifest.get("seconds")
        return TrainedStage(name, stage.kind, key, networks, cost, status, step, directory, True, seconds)

    def _fit(
        self, name: str, key: str, stage: Stage, inputs: Inputs, context: StageContext, slot: StageHandle | None
    ) -> TrainedStage:
        started = time.monotonic() - (_earlier_seconds(slot.checkpoints) if slot is not None else 0)
        module = stage.build(context, inputs)
        callbacks = self.callbacks(name, slot.directory) if slot is not None else ()
        try:
            ending = fit(module, self.settings, slot.checkpoints if slot is not None else None, callbacks)
        except BaseException:
            if slot is not None:
                with suppress(TriganError):  # a disk that is full: what went wrong first is told
                    write_text(slot.checkpoints / _SECONDS, str(time.monotonic() - started))
            raise
        module.to(self.settings.device)  # Lightning leaves it on the CPU
        networks = stage.finish(module, inputs)
        for network in networks.values():  # as they are when they come from the store, to the last bit
            network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
        step, seconds = _selected_step(module, ending.step), round(time.monotonic() - started, 3)
        cost = Cost(module.flops, dict(module.images))
        directory = Path()
        if slot is not None:
            for player, network in networks.items():
                state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
                write_bytes(slot.directory / f"{player}.safetensors", save(state))
            kept = {"cost": {"flops": cost.flops, "images": cost.images}, "status": ending.status, "step": step}
            slot.commit({**kept, "seconds": seconds})
            directory = slot.directory
        directory = distributed.broadcast(directory)
        return TrainedStage(name, stage.kind, key, networks, cost, ending.status, step, directory, False, seconds)


def _input_digest(data: Input) -> str:
    plain = tensor_digest(data.images, data.labels)
    return digest([plain, data.parts]) if data.parts else plain


def _earlier_seconds(checkpoints: Path) -> float:
    """What earlier attempts took; those that were killed outright have left no word."""
    try:
        return float((checkpoints / _SECONDS).read_text())
    except (OSError, ValueError):
        return 0.0


def _selected_step(module: PlayersModule, last: int) -> int:
    return (int(module.selector.step) if module.selector is not None else 0) or last

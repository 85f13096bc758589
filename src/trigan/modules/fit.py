"""One fit of a module, from its first step or from its newest checkpoint, under a Lightning trainer."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pytorch_lightning as pl
import torch

from trigan.artifacts.checkpoint import AtomicCheckpointIO, load_latest
from trigan.errors import ConfigError, Diverged
from trigan.modules import world
from trigan.modules.players import PlayersModule


@dataclass(frozen=True)
class TrainerSettings:
    """How numbers are computed (part of a run's identity) and how often the fit is saved (not part of it).

    ``accumulate`` splits each global batch into that many micro-batches a rank.
    """

    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ConfigError(f"trainer.accumulate: {self.accumulate} must be at least 1")


@dataclass(frozen=True)
class Machine:
    """What a fit runs on; never changes a result by intent, so it is no part of an identity."""

    accelerator: Literal["cpu", "gpu"] = "cpu"
    checkpoint_every: int = 500

    @property
    def device(self) -> torch.device:
        """This rank's device."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", world.rank() % max(1, torch.cuda.device_count()))


class Observer(Protocol):
    """Watches a fit; whatever it does, no result may change by it."""

    def flushed(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """The means since the last call, at step ``module.done``."""
        ...


@dataclass(frozen=True)
class Ending:
    """How a fit ended: ``step`` is the last healthy one."""

    status: Literal["finished", "diverged"]
    step: int


class _Flush(pl.Callback):
    """Reads the notes, tells the observers, and saves, every ``flush_every`` steps."""

    def __init__(self, machine: Machine, directory: Path | None, observers: Sequence[Observer]) -> None:
        self._machine, self._directory, self._observers = machine, directory, observers

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: PlayersModule = pl_module  # type: ignore[assignment]
        every, steps = module.plan.flush_every, module.plan.steps
        if module.done % every and module.done != steps:
            return
        metrics = module.flush()
        for observer in self._observers:
            observer.flushed(module, metrics)
        due = module.done // self._machine.checkpoint_every > (module.done - every) // self._machine.checkpoint_every
        if self._directory is not None and (due or module.done == steps):
            trainer.save_checkpoint(self._directory / f"step-{module.done:09d}.ckpt")


class _Resume(pl.Callback):
    """Gives each player's optimizer back the state that a checkpoint holds."""

    def __init__(self, states: list[dict[str, Any]]) -> None:
        self._states = states

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for optimizer, state in zip(trainer.optimizers, self._states, strict=True):
            optimizer.load_state_dict(state)


def fit(
    module: PlayersModule,
    settings: TrainerSettings,
    machine: Machine,
    checkpoints: Path | None = None,
    observers: Sequence[Observer] = (),
    resumed: Callable[[PlayersModule], None] | None = None,
) -> Ending:
    """Fit ``module`` to the end of its plan, going on from the newest healthy checkpoint in ``checkpoints``.

    Rank 0 alone reads and writes files; ``resumed`` is called once, when weights are in place and before the first
    step. A fit that diverges ends on its last healthy checkpoint, or on its first weights if there is none.
    """
    callbacks: list[pl.Callback] = []
    folder = checkpoints if world.rank() == 0 else None
    checkpoint = world.broadcast(load_latest(folder) if folder is not None else None)
    initial = {name: value.clone() for name, value in module.state_dict().items()}
    if checkpoint is not None:
        module.restore(checkpoint)
        callbacks.append(_Resume(checkpoint["optimizer_states"]))
    if resumed is not None:
        resumed(module)
    callbacks.append(_Flush(machine, folder, observers))
    if module.done >= module.plan.steps:
        return Ending("finished", module.done)
    try:
        _trainer(settings, machine, callbacks).fit(module, range(module.done, module.plan.steps))
    except Diverged as error:
        healthy = world.broadcast(load_latest(folder) if folder is not None else None)
        if healthy is None:
            module.load_state_dict(initial)
            return Ending("diverged", 0)
        module.load_state_dict(healthy["state_dict"])
        del error
        return Ending("diverged", int(healthy["counters"]["done"]))
    return Ending("finished", module.done)


def _trainer(settings: TrainerSettings, machine: Machine, callbacks: list[pl.Callback]) -> pl.Trainer:
    """A trainer that does nothing but loop: one device a process, no logger, no bar, no checkpoint of its own."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings(
        "ignore", module="pytorch_lightning", message=".*(does not have many workers|GPU available).*"
    )
    device = machine.device
    return pl.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=1 if device.type == "cpu" else [device.index],
        strategy=pl.strategies.SingleDeviceStrategy(device=device),
        precision=settings.precision,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
    )

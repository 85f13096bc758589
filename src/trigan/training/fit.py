"""One fit of a module, from its first step or from its newest checkpoint, under a Lightning trainer."""

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from trigan.artifacts.checkpoint import AtomicCheckpointIO, checkpoint_path, load_latest
from trigan.components import component
from trigan.errors import ConfigError, DivergedError
from trigan.training import distributed
from trigan.training.players import PlayersModule


@component("trainer/settings@1")
@dataclass(frozen=True)
class TrainerSettings:
    """How a fit is computed: ``precision`` and ``accumulate`` (micro-batches a rank) are part of a run's identity.

    ``accelerator``, ``devices`` (one process each) and ``checkpoint_every`` (steps) are not: they change a fit
    that finishes by rounding alone. One that diverges ends on its last checkpoint: where, ``checkpoint_every`` decides.
    """

    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    accumulate: int = 1
    accelerator: Literal["cpu", "gpu"] = field(default="cpu", metadata={"identity": False})
    devices: int = field(default=1, metadata={"identity": False})
    checkpoint_every: int = field(default=500, metadata={"identity": False})

    def __post_init__(self) -> None:
        for name in ("accumulate", "devices", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer.{name}: {getattr(self, name)} must be at least 1")

    def check_available(self) -> None:
        """Refuse a GPU that this machine lacks; a machine that only submits runs to others has no need of one.

        Raises:
            ConfigError: torch sees no GPU.
        """
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise ConfigError("trainer.accelerator=gpu: torch sees no GPU here; take trainer=cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and images in flight."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    @property
    def emulates_bfloat16(self) -> bool:
        """Whether bfloat16 is asked of a processor that has no instructions for it: 28 times slower where tried."""
        plain = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
        return self.precision == "bf16-mixed" and self.accelerator == "cpu" and plain

    @property
    def device(self) -> torch.device:
        """This rank's device."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", distributed.rank() % torch.cuda.device_count())


class FitCallback(Protocol):
    """Watches a fit; whatever it does, no result may change by it."""

    def on_fit_start(self, module: PlayersModule) -> None:
        """The fit is about to take step ``module.completed_steps``: 0, or where a checkpoint left it."""
        ...

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """The means since the last call, at step ``module.completed_steps``."""
        ...

    def on_fit_end(self) -> None:
        """The fit is over: finished, diverged, interrupted or broken."""
        ...


@dataclass(frozen=True)
class FitResult:
    """How a fit ended: ``step`` is the last healthy one."""

    status: Literal["finished", "diverged"]
    step: int


class _Flush(pl.Callback):
    """Reads the notes, tells the callbacks, and saves, every ``log_every`` steps."""

    def __init__(self, every: int, directory: Path | None, callbacks: Sequence[FitCallback]) -> None:
        self._save_every, self._directory, self._observers = every, directory, callbacks

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module: PlayersModule = pl_module  # type: ignore[assignment]
        every, steps = module.plan.log_every, module.plan.steps
        if module.completed_steps % every and module.completed_steps != steps:
            return
        metrics = module.flush()
        for callback in self._observers:
            callback.on_metrics(module, metrics)
        due = module.completed_steps // self._save_every > (module.completed_steps - every) // self._save_every
        if self._directory is not None and (due or module.completed_steps == steps):
            trainer.save_checkpoint(checkpoint_path(self._directory, module.completed_steps), weights_only=False)


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
    checkpoints: Path | None = None,
    callbacks: Sequence[FitCallback] = (),
) -> FitResult:
    """Fit ``module`` to the end of its plan, going on from the newest healthy checkpoint in ``checkpoints``.

    Rank 0 alone reads and writes files; callbacks are told where the fit begins. A fit that diverges ends on its last
    healthy checkpoint, or on its first weights if there is none.
    """
    lightning_callbacks: list[pl.Callback] = []
    folder = checkpoints if distributed.rank() == 0 else None
    checkpoint = distributed.broadcast(load_latest(folder) if folder is not None else None)
    initial = {name: value.clone() for name, value in module.state_dict().items()}
    if checkpoint is not None:
        module.restore(checkpoint)
        lightning_callbacks.append(_Resume(checkpoint["optimizer_states"]))
    lightning_callbacks.append(_Flush(settings.checkpoint_every, folder, callbacks))
    try:
        for callback in callbacks:
            callback.on_fit_start(module)
        if module.completed_steps < module.plan.steps:
            with _ctrl_c_as_ever():
                _trainer(settings, lightning_callbacks).fit(module, range(module.completed_steps, module.plan.steps))
    except DivergedError:
        healthy = distributed.broadcast(load_latest(folder) if folder is not None else None)
        if healthy is None:
            module.load_state_dict(initial)
            return FitResult("diverged", 0)
        module.load_state_dict(healthy["state_dict"])
        return FitResult("diverged", int(healthy["counters"]["completed_steps"]))
    finally:
        for callback in callbacks:
            callback.on_fit_end()
    return FitResult("finished", module.completed_steps)


@contextlib.contextmanager
def _ctrl_c_as_ever() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt: Lightning makes it an exit with code 1, and has later ones ignored."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


def _trainer(settings: TrainerSettings, lightning_callbacks: list[pl.Callback]) -> pl.Trainer:
    """A trainer that does nothing but loop: one device a process, no logger, no bar, no checkpoint of its own."""
    for name in ("utilities.rank_zero", "accelerators.cuda", "trainer.connectors.signal_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.WARNING)
    noise = "does not have many workers|GPU available|in eval mode at the start|LeafSpec|`srun` command is available"
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric", message=f".*({noise}).*")
    device = settings.device
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
        callbacks=lightning_callbacks,
        # named, or Lightning would find Slurm's variables, count its tasks and requeue the job itself
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
    )

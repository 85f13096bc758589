"""One fit of a module under a Lightning trainer, from its first step or from its newest checkpoint."""

import contextlib
import logging
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from trigan import distributed
from trigan.artifacts.checkpoint import AtomicCheckpointIO, checkpoint_path, load_latest
from trigan.checks import require_settings
from trigan.component_ids import component
from trigan.errors import ConfigError, DivergedError
from trigan.training.memory_check import check_memory
from trigan.training.players import PlayersModule


@component("trainer/settings@1")
@dataclass(frozen=True)
class TrainerSettings:
    """How a fit is computed: ``precision`` and ``accumulate`` (micro-batches per rank) are part of the run hash.

    The other fields are not, because they change a finished fit only by rounding. A fit that diverges also depends on
    ``checkpoint_every``.

    Attributes:
        precision: ``tf32`` is float32 whose products a GPU rounds to 10 bits; ``bf16-mixed`` is torch's autocast.
        accumulate: micro-batches of each rank in a global batch.
        accelerator: ``auto`` is the GPU where there are ``devices`` of them, otherwise the CPU.
        devices: one process each.
        checkpoint_every: steps.
        graph: replay steps as CUDA graphs (`trigan.training.graphs`), on one GPU.
        compile: pass each player through torch.compile, which takes minutes before the first step.
        images: ``device``: training images lie in the device's memory; ``host``: each batch is copied to it.
    """

    precision: Literal["32-true", "tf32", "bf16-mixed", "64-true"] = "32-true"
    accumulate: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = field(default="cpu", metadata={"identity": False})
    devices: int = field(default=1, metadata={"identity": False})
    checkpoint_every: int = field(default=500, metadata={"identity": False})
    graph: bool = field(default=False, metadata={"identity": False})
    compile: bool = field(default=False, metadata={"identity": False})
    images: Literal["device", "host"] = field(default="device", metadata={"identity": False})

    def __post_init__(self) -> None:
        require_settings(self, "accumulate devices checkpoint_every", 1, "trainer.")
        if self.graph and self.devices > 1:
            raise ConfigError(f"trainer.graph=true: with one GPU only; set trainer.devices=1, not {self.devices}")
        if self.graph and self.images == "host":
            raise ConfigError("trainer.images=host: a CUDA graph cannot read from the host; set trainer.graph=false")
        for setting, needs_gpu in (("trainer.graph=true", self.graph), ("trainer.precision=tf32", self._tf32)):
            if needs_gpu and self.accelerator == "cpu":
                raise ConfigError(f"{setting}: needs a GPU; set trainer=gpu")

    @property
    def _tf32(self) -> bool:
        return self.precision == "tf32"

    def accelerator_here(self) -> Literal["cpu", "gpu"]:
        """The accelerator on this machine; a ConfigError if training needs GPUs that torch does not find."""
        if self.accelerator == "cpu":
            return "cpu"
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.accelerator == "gpu" and not gpus:
            raise ConfigError(
                "trainer.accelerator=gpu: torch finds no GPU here; take trainer=auto, which uses one where there is "
                "one, or trainer=cpu"
            )
        if self.accelerator == "gpu" and gpus < self.devices:
            raise ConfigError(f"trainer.devices={self.devices}: torch finds {gpus} GPUs here; give at most {gpus}")
        if (self.graph or self._tf32) and gpus < self.devices:
            setting = "trainer.graph=true" if self.graph else "trainer.precision=tf32"
            raise ConfigError(f"{setting}: torch finds no GPU here; set trainer.graph=false trainer.precision=32-true")
        return "gpu" if gpus >= self.devices else "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """Precision of weights and images."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    @property
    def emulates_bfloat16(self) -> bool:
        """Whether the processor has no bfloat16 instructions and must emulate them: 28 times slower in one test."""
        plain = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
        return self.precision == "bf16-mixed" and self.accelerator_here() == "cpu" and plain

    def prepare(self) -> None:
        """Set torch's global switches for fits on a GPU: reproducible kernels, and TF32 where it is asked for alone."""
        if self.accelerator_here() == "cpu":
            return
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    @property
    def device(self) -> torch.device:
        """This rank's device."""
        if self.accelerator_here() == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", distributed.rank() % torch.cuda.device_count())


class FitCallback:
    """Observes a fit, and must not change its result."""

    def on_fit_start(self, module: PlayersModule) -> None:
        """Called before the first step, whose number is ``module.completed_steps`` (0, or that of the checkpoint)."""

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        """Called every ``log_every`` steps with the means since the last call."""

    def on_fit_end(self) -> None:
        """Called when the fit has finished, diverged, or stopped with an error."""


@dataclass(frozen=True)
class FitResult:
    """How a fit ended; ``step`` is that of its weights, ``reason`` why it diverged."""

    status: Literal["finished", "diverged"]
    step: int
    reason: str = field(default="", compare=False)


class _FlushAndCheckpoint(pl.Callback):
    """Passes metrics to the callbacks and saves checkpoints, every ``log_every`` steps."""

    def __init__(self, every: int, directory: Path | None, callbacks: Sequence[FitCallback]) -> None:
        self._save_every, self._directory, self._callbacks = every, directory, callbacks

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PlayersModule)
        every, done, last = pl_module.plan.log_every, pl_module.completed_steps, pl_module.plan.steps
        ended = pl_module.watch is not None and pl_module.watch.ended
        if done % every and done != last and not ended:
            return
        metrics = pl_module.flush()
        for callback in self._callbacks:
            callback.on_metrics(pl_module, metrics)
        due = done // self._save_every > (done - every) // self._save_every
        if self._directory is not None and (due or done == last or ended):
            trainer.save_checkpoint(checkpoint_path(self._directory, done), weights_only=False)
        if ended:
            trainer.should_stop = True


def fit(
    module: PlayersModule,
    settings: TrainerSettings,
    checkpoints: Path | None = None,
    callbacks: Sequence[FitCallback] = (),
) -> FitResult:
    """Fit ``module`` to the end of its plan, from the newest valid checkpoint in ``checkpoints``.

    Only rank 0 reads and writes files. A fit that diverges returns to its last checkpoint, or to its initial
    weights if there is none.
    """
    folder = checkpoints if distributed.rank() == 0 else None
    checkpoint = distributed.broadcast(load_latest(folder) if folder is not None else None)
    initial = {name: value.clone() for name, value in module.state_dict().items()}
    if checkpoint is not None:
        module.restore(checkpoint)
    settings.prepare()
    if settings.graph:
        module.use_graphs()
    for network in module.networks.values() if settings.compile else ():
        network.compile(dynamic=False)
    flush = _FlushAndCheckpoint(settings.checkpoint_every, folder, callbacks)
    try:
        for callback in callbacks:
            callback.on_fit_start(module)
        if module.completed_steps < module.plan.steps and not (module.watch is not None and module.watch.ended):
            check_memory(module, settings.device, settings.precision == "bf16-mixed")
            with _keyboard_interrupts():
                _trainer(settings, flush).fit(module, module.batches())
    except DivergedError as error:
        healthy = distributed.broadcast(load_latest(folder) if folder is not None else None)
        if healthy is None:
            module.load_state_dict(initial)
            return FitResult("diverged", 0, str(error))
        module.load_state_dict(healthy["state_dict"])
        return FitResult("diverged", int(healthy["counters"]["completed_steps"]), str(error))
    finally:
        module.graphs = None
        for network in module.networks.values():
            network._compiled_call_impl = None
        for callback in callbacks:
            callback.on_fit_end()
    ended = module.watch.events[-1] if module.watch is not None and module.watch.ended else {}
    return FitResult("finished", ended.get("to", module.completed_steps))


@contextlib.contextmanager
def _keyboard_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C: Lightning exits with code 1 instead, and ignores later interrupts."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from None


def _trainer(settings: TrainerSettings, callback: pl.Callback) -> pl.Trainer:
    """A trainer that only loops: one device per process, no logger, no progress bar, no checkpoints of its own."""
    for name in ("utilities.rank_zero", "accelerators.cuda", "trainer.connectors.signal_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.WARNING)
    known = "does not have many workers|GPU available|in eval mode at the start|LeafSpec|`srun` command is available"
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric", message=f".*({known}).*")
    device = settings.device
    return pl.Trainer(
        accelerator=settings.accelerator_here(),
        devices=1 if device.type == "cpu" else [device.index],
        strategy=pl.strategies.SingleDeviceStrategy(device=device),
        precision="32-true" if settings.precision == "tf32" else settings.precision,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[callback],
        # an explicit environment, because Lightning would otherwise detect Slurm and requeue the job itself
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
    )

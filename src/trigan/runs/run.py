"""One run: split the data, train the strategy, open the test set, write the record. Idempotent and resumable."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import yaml

from trigan import distributed
from trigan.artifacts.store import Store, locked
from trigan.atomic import (
    full_disk_interrupts,
    make_folder,
    remove_partial_files,
    signals_handled,
    wrap_os_errors,
    write_text,
)
from trigan.config.compose import RunConfig
from trigan.datasets.mirror_check import with_flips_decided
from trigan.datasets.sources.closed import closed_sources
from trigan.datasets.types import ImageDataset, TrainingView
from trigan.errors import ConfigError, DiskFullError, TriganError
from trigan.execution.pool import cores, visible_gpus
from trigan.execution.progress import Heartbeat
from trigan.records import failure
from trigan.records.record import RECORD_NAME, read_record
from trigan.runs.final_evaluation import finish_run, summary
from trigan.runs.malloc import keep_freed_memory
from trigan.runs.tracked_run import ShowStage, StageView, run_info, shows_real_images, tracked_config
from trigan.runs.trained_run import RunLocation, TrainedRun, divide_data
from trigan.runs.validation_run import (
    VALIDATION_CURVE_NAME,
    ValidationCurve,
    finish_validation_run,
    read_validation_record,
    require_validation_labels,
    validation_record_path,
)
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.tracking import Tracker
from trigan.tracking.tracker import Tracking, loggers_of, open_all
from trigan.tracking.wandb_tracking import started_by_sweep_agent
from trigan.training.fit import FitCallback

_log = logging.getLogger("trigan")
#: The part of a GPU's memory that jobs share; the rest is for their contexts, about half a gigabyte each.
_SHARED_GPU_MEMORY = 0.9


def run(composed: RunConfig, force: bool = False, validation_only: bool = False) -> Path:
    """Execute the run, or find its record, and return its directory; ``force`` computes it again.

    With ``validation_only`` it ends with validation scores and never opens the test set (`trigan.runs.validation_run`).
    After an error finished stages stay in the store, and the same call continues from there.
    """
    torch.set_num_threads(composed.runtime.threads)
    keep_freed_memory()
    with _process_group(composed), signals_handled(_stop, signal.SIGTERM), Heartbeat():
        built = composed.build()
        for logger in loggers_of(built.logger):
            logger.check_installed()
        strategy, architecture, data, regime = (
            composed.choices.get(group) for group in ("strategy", "architecture", "data", "regime")
        )
        gan = "" if strategy == "baseline" else f" ({architecture})"
        _log.info("%s%s on %s, regime %s, trial %d", strategy, gan, data, regime, composed.trial)
        _tell_devices(composed)
        _limit_gpu_memory(composed)
        loaded = [composed.load_data()]  # taken out of the list, and released, before anything is trained
        location = locate(composed, loaded[0], validation_only)
        with _run_lock(location) if distributed.rank() == 0 else contextlib.nullcontext():
            if not distributed.broadcast(not force and _is_finished(location)):
                _execute(composed, built, loaded, location, force)
                return location.directory
            _log.info("this run is finished: %s", location.record)
            if validation_only and started_by_sweep_agent():
                tracker = _open_tracker(composed, built, location)  # of a sweep that runs the same point again
                if distributed.rank() == 0:
                    tracker.log_summary(summary("validation", read_validation_record(location.record)["result"]))
                tracker.finish()
        return location.directory


def locate(composed: RunConfig, dataset: ImageDataset, validation_only: bool = False) -> RunLocation:
    """Where the run is stored, by a hash that includes the fingerprint of its data."""
    key = composed.run_hash(dataset.identity)
    if validation_only:
        return RunLocation(key, validation_record_path(composed.paths.outputs, key), validation_only)
    return RunLocation(key, composed.paths.runs / key / RECORD_NAME)


def _execute(composed: RunConfig, built: Any, loaded: list[ImageDataset], location: RunLocation, force: bool) -> None:
    started = time.time()
    view, data = divide_data(composed, loaded.pop())
    if location.validation_only:
        require_validation_labels(composed, view)
    _count_calibration_labels(composed, view)
    store = Store(composed.paths.artifacts)
    if distributed.rank() == 0:
        _prepare(composed, built, location, store if force else None)
    tracker = _open_tracker(composed, built, location)

    def view_of(stage: str, directory: Path) -> StageView:
        picture, real = location.directory / f"pictures/samples-{stage}.png", shows_real_images(composed)
        return StageView(stage, directory, tracker, picture, data.class_names, real)

    def callbacks(stage: str, directory: Path) -> list[FitCallback]:
        shown = ShowStage(view_of(stage, directory))
        curve = ValidationCurve(stage, location.directory / VALIDATION_CURVE_NAME, runner)
        always = [*built.callbacks.build(stage, directory, tracker), shown]
        return [*always, *([curve] if location.validation_only else [])]

    def show_reused(stage: TrainedStage) -> None:
        if distributed.rank() == 0:
            view_of(stage.name, stage.directory).show_all(stage.networks)

    runner = StageRunner(
        store,
        location.run,
        view.spec,
        composed.seed,
        built.trainer,
        composed.debug.max_steps if composed.debug is not None else None,
        callbacks,
        show_reused,
    )
    exit_code = 1
    try:
        with full_disk_interrupts():
            strategy, noted = with_flips_decided(built.strategy, view)
            with closed_sources("while the strategy trained"):
                outcome = strategy.run(view, runner)
            outcome = replace(outcome, notes={**outcome.notes, **noted})
            trained = TrainedRun(composed, location, data, outcome, view.close(), runner, tracker, started)
            finish_validation_run(trained) if location.validation_only else finish_run(trained)
        exit_code = 0
    except Exception as error:
        _mark_failed(location, error)
        raise
    finally:
        tracker.finish(exit_code)


def _count_calibration_labels(composed: RunConfig, view: TrainingView) -> None:
    """Count the validation labels as used where a scaling of C's logits is fitted on them.

    Raises:
        ConfigError: there are none.
    """
    method = composed.config["evaluation"].get("calibration", "none")
    if method != "none" and view.validation is None:  # reading them counts them
        raise ConfigError(
            f"evaluation.calibration={method}: it is fitted on validation labels, and there are none (10 labels "
            "per class or fewer keep none by default); set regime.validation=large, or evaluation.calibration=none"
        )


def _prepare(composed: RunConfig, built: Any, location: RunLocation, forced: Store | None) -> None:
    """Write the config and log warnings, after removing what earlier attempts left; with ``forced``, stages too."""
    if forced is not None:
        _forget(forced, location)
    with wrap_os_errors(location.directory):
        make_folder(location.directory)
        remove_partial_files(location.directory)
    failure.remove(location.directory)
    write_text(location.directory / "config.yaml", yaml.safe_dump(composed.config, sort_keys=False))
    _log.info("run %s", location.run)
    for key in composed.unused:
        _log.warning("%s has no effect with the current settings of strategy=%s", key, composed.choices.get("strategy"))
    if built.trainer.emulates_bfloat16:
        _log.warning(
            "trainer.precision=bf16-mixed: this CPU has no native bfloat16; precision 32-true is many times faster"
        )


def _mark_failed(location: RunLocation, error: Exception) -> None:
    """Write the failure mark, unless the record was written before the error or the file cannot be written.

    A full disk is an interruption. Of a run on several devices the process that started the ranks writes the mark: a
    rank also ends with an error when another one was stopped.
    """
    if distributed.world_size() == 1 and not isinstance(error, DiskFullError) and not location.record.exists():
        message = " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(TriganError):
            failure.write(location.directory, failure.Failure(type(error).__name__, message))


def _open_tracker(composed: RunConfig, built: Any, location: RunLocation) -> Tracker:
    """The run's tracker; only rank 0 logs."""
    loggers = loggers_of(built.logger) if distributed.rank() == 0 else [Tracking()]
    return open_all(loggers, run_info(composed, location), tracked_config(composed))


def _is_finished(location: RunLocation) -> bool:
    """Whether the record exists; an ArtifactError if it is damaged."""
    read = read_validation_record if location.validation_only else read_record
    return location.record.exists() and bool(read(location.record))


def _forget(store: Store, location: RunLocation) -> None:
    """--force: remove the record, readable or not, the stages it used and its curves.

    A run without a record was interrupted; it continues from its checkpoints, forced or not.
    """
    if not location.record.exists():
        return
    for stage in store.stages_used_by(location.run):
        store.discard(stage, lambda: _log.info("--force: another process is using a stage of this run; waiting for it"))
    curves = (
        "metrics.csv",
        "summary.csv",
        "wandb/axis.json",
        "mlflow/axis.json",
        VALIDATION_CURVE_NAME,
    )  # a resumed run appends to them
    pictures = (location.directory / "pictures").glob("*.png")
    for path in (*(location.directory / name for name in curves), *pictures, location.record):
        with wrap_os_errors(path, "remove"):
            path.unlink(missing_ok=True)


def _run_lock(location: RunLocation) -> contextlib.AbstractContextManager[None]:
    """The run's lock; a second process waits for it and then finds the run finished."""
    path = location.directory.parent / ".locks" / f"{location.run}.lock"
    return locked(path, lambda: _log.info("another process is computing this run; waiting for it"))


@contextlib.contextmanager
def _process_group(composed: RunConfig) -> Iterator[None]:
    """Join the process group that torchrun's environment variables describe, if the run has so many devices."""
    size, devices = os.environ.get("WORLD_SIZE") or "1", composed.resources.processes
    if size not in ("1", str(devices)):
        _log.warning("WORLD_SIZE=%s in the environment is ignored, as this run has trainer.devices=%d", size, devices)
    if size == "1" or size != str(devices):
        yield
        return
    gpu = composed.config["trainer"]["accelerator"] == "gpu"
    if gpu:
        torch.cuda.set_device(int(os.environ["RANK"]) % torch.cuda.device_count())
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def _tell_devices(composed: RunConfig) -> None:
    """Log what ``trainer=auto`` took, and whether the run has more threads than it may use cores."""
    needs = composed.resources
    if composed.choices.get("trainer") == "auto":
        gpus = ", ".join(visible_gpus()[: needs.processes]) if needs.gpu else ""
        taken = f"GPU {gpus} ({torch.cuda.get_device_name()})" if gpus else _counted(needs.cores)
        _log.info("trainer=auto: %s", taken)
    if not needs.gpu and needs.cores > cores():
        _log.warning("%d threads share %s; lower runtime.threads or trainer.devices", needs.cores, _counted(cores()))


def _limit_gpu_memory(composed: RunConfig) -> None:
    """Give each of the jobs that share a GPU an equal part of its memory: one that needs more ends no other."""
    needs = composed.resources
    if needs.gpu and needs.jobs_per_gpu > 1:
        torch.cuda.set_per_process_memory_fraction(_SHARED_GPU_MEMORY / needs.jobs_per_gpu)


def _counted(number: int) -> str:
    return "one CPU core" if number == 1 else f"{number} CPU cores"


def _stop(number: int, frame: FrameType | None) -> None:
    """On SIGTERM exit with code 143, where Lightning would exit with 0."""
    _log.warning("stopped by SIGTERM; the same command continues from the last checkpoint")
    raise SystemExit(128 + number)

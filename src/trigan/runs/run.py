"""One run: composed -> data drawn -> strategy -> seal opened -> record. Idempotent, resumable, the record last."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import yaml
from filelock import FileLock, Timeout

from trigan.artifacts.store import Store
from trigan.atomic import wrap_os_errors, write_text
from trigan.config.compose import RunConfig
from trigan.data.splits.external_data import with_external
from trigan.data.splits.make_split import make_split
from trigan.data.types import ImageDataset
from trigan.errors import TriganError
from trigan.records import failure
from trigan.records.record import RECORD_NAME, read_record
from trigan.runs.final_evaluation import finish_run
from trigan.runs.malloc import keep_freed_memory
from trigan.runs.validation_run import (
    VALIDATION_CURVE_NAME,
    ValidationCurve,
    finish_validation_run,
    read_validation_record,
    require_validation_labels,
    validation_record_path,
    validation_summary,
)
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.tracking import MetricsFile, RunInfo, Tracker
from trigan.tracking.wandb_sweeps import started_by_sweep_agent
from trigan.training import distributed
from trigan.training.callbacks import METRICS_NAME

_log = logging.getLogger("trigan")

#: What trackers keep in a run's directory so that a run that goes on says nothing twice.
CURVE_FILES = ("metrics.csv", "summary.csv", "wandb/axis.json")


@dataclass(frozen=True)
class RunLocation:
    """Where a run lives: its hash and its record, which is there exactly if the run is finished."""

    run: str
    record: Path
    validation_only: bool = False

    @property
    def directory(self) -> Path:
        return self.record.parent


def run(composed: RunConfig, force: bool = False, validation_only: bool = False) -> Path:
    """Bring the run to its end, unless it is there already; returns its directory.

    With ``validation_only`` it ends with validation scores and never opens the test set; see
    :mod:`trigan.runs.validation_run`.

    Raises:
        TriganError: one line; what was finished stays in the store, and the same command goes on from it.
    """
    _speak()
    torch.set_num_threads(composed.runtime.threads)
    keep_freed_memory()
    with _ranks(composed), _truthful_end():
        built = composed.build()
        _log.info("%s", run_title(composed))
        source = composed.load_data()
        place = locate(composed, source, validation_only)
        with _alone(place) if distributed.rank() == 0 else contextlib.nullcontext():
            if distributed.broadcast(not force and _finished(place)):
                _log.info("this run is finished: %s", place.record)
                if validation_only and started_by_sweep_agent():
                    _tell_again(composed, built, place)
                return place.directory
            _go(composed, built, source, place, force)
        return place.directory


def locate(composed: RunConfig, source: ImageDataset, validation_only: bool = False) -> RunLocation:
    """The run's place, given its data."""
    key = composed.run_hash(source.fingerprint)
    return RunLocation(
        key,
        validation_record_path(composed.paths.outputs, key)
        if validation_only
        else composed.paths.runs / key / RECORD_NAME,
        validation_only,
    )


def _go(composed: RunConfig, built: Any, source: ImageDataset, place: RunLocation, force: bool) -> None:
    started = time.time()
    drawn = make_split(source, built.regime, composed.trial)
    if (other := composed.load_external()) is not None:
        drawn = with_external(drawn, source, other)
    if place.validation_only:
        require_validation_labels(composed, drawn)
    store = Store(composed.paths.artifacts)
    if distributed.rank() == 0:
        if force:
            _forget(store, place)
        with wrap_os_errors(place.directory):
            place.directory.mkdir(parents=True, exist_ok=True)
        failure.remove(place.directory)  # of an earlier attempt
        write_text(place.directory / "config.yaml", yaml.safe_dump(composed.config, sort_keys=False))
        _log.info("run %s", place.run)
        for key in composed.unused:
            _log.warning("%s has no effect with strategy=%s as it is set", key, composed.choices.get("strategy"))
        if built.trainer.emulates_bfloat16:
            _log.warning("trainer.precision=bf16-mixed: this CPU lacks bfloat16, 32-true is many times faster here")
    tracker = _open_tracker(composed, built, place)
    debug = composed.debug
    runner = StageRunner(
        store,
        place.run,
        drawn.view.spec,
        composed.seed,
        built.trainer,
        debug.max_steps if debug is not None else None,
        lambda name, directory: [*built.callbacks.build(name, directory, tracker), *validation_curve(name)],
        lambda trained: _pass_on(trained, tracker),
    )

    def validation_curve(stage: str) -> list[ValidationCurve]:
        return (
            [ValidationCurve(stage, place.directory / VALIDATION_CURVE_NAME, runner)] if place.validation_only else []
        )

    code = 1
    try:
        outcome = built.strategy.run(drawn.view, runner)
        end = finish_validation_run if place.validation_only else finish_run
        end(composed, place, source, drawn, outcome, runner, tracker, started)
        code = 0
    except Exception as error:
        _leave_mark(place, error)
        raise
    finally:
        tracker.finish(code)


def _leave_mark(place: RunLocation, error: Exception) -> None:
    """Say in the run's directory that it failed; where not even that can be written, the error itself matters more."""
    if distributed.rank() == 0:
        said = " ".join(str(error).split()) or type(error).__name__
        with contextlib.suppress(TriganError):
            failure.write(place.directory, failure.Failure(type(error).__name__, said))


def run_title(composed: RunConfig) -> str:
    """The run in a few words."""
    choices = composed.choices
    names = [str(choices.get(group)) for group in ("strategy", "architecture", "data", "regime")]
    return f"{names[0]} ({names[1]}) on {names[2]}, regime {names[3]}, trial {composed.trial}"


def _open_tracker(composed: RunConfig, built: Any, place: RunLocation) -> Tracker:
    from trigan.tracking.tracker import NoTracking

    choices, config = composed.choices, composed.config
    group = config.get("study") or f"{choices.get('data')}-{choices.get('regime')}"
    name = config.get("row") or choices.get("strategy")
    info = RunInfo(
        id=place.run,
        name=f"{name} #{composed.trial}",
        group=str(group),
        job_type=str(choices.get("strategy")),
        tags=(f"architecture:{choices.get('architecture')}", f"loss:{choices.get('loss')}", f"trial:{composed.trial}"),
        directory=place.directory,
    )
    tracking = built.logger if distributed.rank() == 0 else NoTracking()
    tracker: Tracker = tracking.open(info, config)
    return tracker


def _tell_again(composed: RunConfig, built: Any, place: RunLocation) -> None:
    """What a finished validation-only run came to, told to the sweep that asks for the same point once more."""
    tracker = _open_tracker(composed, built, place)
    if distributed.rank() == 0:
        tracker.log_summary(validation_summary(read_validation_record(place.record)["result"]))
    tracker.finish()


def _pass_on(trained: TrainedStage, tracker: Tracker) -> None:
    """The curves of a stage that another run trained, told where they would have been told had this one."""
    for row in MetricsFile.read(trained.directory / METRICS_NAME) if distributed.rank() == 0 else ():
        metrics = {key: value for key, value in row.items() if key not in ("stage", "images")}
        tracker.log(trained.name, row["images"], metrics)


def _finished(place: RunLocation) -> bool:
    """Whether the record is there.

    Raises:
        ArtifactError: it is, but damaged.
    """
    return place.record.exists() and bool(
        (read_validation_record if place.validation_only else read_record)(place.record)
    )


def _forget(store: Store, place: RunLocation) -> None:
    """--force: the record goes, sound or not, and so do the stages that it stood on and the curves that it drew.

    Without a record an attempt was broken off, and the next goes on from it, forced or not.
    """
    if not place.record.exists():
        return
    for stage in store.stages_used_by(place.run):
        store.discard(stage, lambda: _log.info("--force: another process is using a stage of this run; waiting for it"))
    for name in CURVE_FILES:
        with wrap_os_errors(place.directory / name, "remove"):
            (place.directory / name).unlink(missing_ok=True)
    with wrap_os_errors(place.record, "remove"):
        place.record.unlink()


@contextlib.contextmanager
def _alone(place: RunLocation) -> Iterator[None]:
    """One process at a time works on a run; a second one waits, and then finds it finished."""
    path = place.directory.parent / ".locks" / f"{place.run}.lock"
    with wrap_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.info("another process is at this very run; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _ranks(composed: RunConfig) -> Iterator[None]:
    """Join the process group that torchrun's variables describe, if they do."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
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


@contextlib.contextmanager
def _truthful_end() -> Iterator[None]:
    """SIGTERM ends the process with 143: Lightning, left to itself, makes it 0."""

    def stop(number: int, frame: FrameType | None) -> None:
        _log.warning("stopped by SIGTERM; the same command goes on from the last checkpoint")
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _speak() -> None:
    """What trigan says goes to stderr as plain lines; a rank other than 0 says only what goes wrong."""
    quiet = int(os.environ.get("RANK", "0")) > 0
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    _log.setLevel(logging.WARNING if quiet else logging.INFO)

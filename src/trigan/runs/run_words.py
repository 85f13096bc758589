"""One run from the words of a command line, in this process or, on several devices, as one process per rank."""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trigan.config.compose import Composer, RunConfig
from trigan.errors import ConfigError, TriganError
from trigan.execution import ranks
from trigan.execution.job import DISK_FULL, STOP_SIGNALS, run_options
from trigan.records import failure
from trigan.records.record import RECORD_NAME, read_record

_log = logging.getLogger("trigan")
#: Runs that the study of this job, a fork, has composed.
HANDED_OVER: list[RunConfig] = []


class RankFailedError(TriganError):
    """A process of a run on several devices failed, with this exit code; its error is on standard error."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"a rank of this run ended with exit code {exit_code}; its error is on standard error")
        self.exit_code = exit_code


def run_words(
    words: Sequence[str], *, force: bool = False, validation_only: bool = False, config_dir: Path | None = None
) -> Path:
    """Compose a run and do what `trigan.runs.run.run` does; with ``trainer.devices`` > 1, in one process per rank.

    ``words`` are settings as they follow ``trigan run``: ``["strategy=joint", "trial=3"]``. Any thread may call it;
    signal handlers are installed in the main thread only.
    """
    for composed in HANDED_OVER:
        if composed.overrides == tuple(words):
            return _run(composed, force, validation_only)
    composer = Composer(config_dir)
    known = composer.check(words)
    if known and not (force or validation_only) and (known.directory / RECORD_NAME).exists():
        _ = read_record(known.directory / RECORD_NAME)  # refuses a damaged one
        for line in known.warnings:
            _log.warning("%s", line)
        _log.info("this run is finished: %s", known.directory / RECORD_NAME)
        return known.directory
    outline = composer.outline(words)
    devices = _devices(outline)
    if devices > 1 and (outline.config.get("evaluation") or {}).get("generator_classifiers"):
        raise ConfigError("evaluation.generator_classifiers=true: trains on one device; set trainer.devices=1")
    starts_ranks = devices > 1 and not ranks.is_rank(devices)
    if starts_ranks:
        options, logs = run_options(config_dir, force, validation_only), outline.paths.outputs / "logs"
        if code := ranks.start(["run", *options, *words], devices, logs):
            _mark_failed(composer, words, validation_only, code)
            raise RankFailedError(code)
    elif "torch" not in sys.modules:  # its thread pools read this variable when it is imported, which composing does
        os.environ.setdefault("OMP_NUM_THREADS", str(outline.runtime.threads))
    composed = composer.compose(words)
    if starts_ranks:
        from trigan.runs.run import locate

        return locate(composed, composed.load_data(), validation_only).directory
    return _run(composed, force, validation_only)


def _run(composed: RunConfig, force: bool, validation_only: bool) -> Path:
    from trigan.runs.run import run  # imports torch

    return run(composed, force, validation_only)


def is_rank_of(words: Sequence[str], config_dir: Path | None = None) -> bool:
    """Whether this process is one of several that compute this run; other programs' variables are not enough."""
    devices = _devices(Composer(config_dir).outline(words))
    return devices > 1 and ranks.is_rank(devices)


def _devices(run: RunConfig) -> int:
    """``trainer.devices`` of a run whose objects were not built; 1 where it is none."""
    trainer = run.config.get("trainer")
    devices = trainer.get("devices", 1) if isinstance(trainer, dict) else 1
    return devices if isinstance(devices, int) else 1


def _mark_failed(composer: Composer, words: Sequence[str], validation_only: bool, code: int) -> None:
    """Write the failure mark of a run whose ranks failed, if it is known where: its data may be what failed."""
    if code - 128 in STOP_SIGNALS or code == DISK_FULL:
        return
    from trigan.runs.run import locate

    with suppress(TriganError):
        composed = composer.compose(words)
        location = locate(composed, composed.load_data(), validation_only)
        failure.write(location.directory, failure.Failure(f"exit {code}", "a process of the run failed"))

"""A job: one ``trigan run`` as a process of its own, and how it ended."""

import hashlib
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trigan.config.settings import Resources
from trigan.errors import ConfigError, DiskFullError, DivergedError, is_printable
from trigan.records import failure
from trigan.records.failure import Failure
from trigan.records.record import RECORD_NAME

#: Bytes of a job's name in the name of its log; file systems allow 255 for a file name.
_LONGEST = 180
#: Exit code of a job that ran out of time, as `timeout(1)` gives it.
TIMED_OUT = 124
#: Exit codes of a run that has its record and diverged, and of one that found the disk full.
DIVERGED, DISK_FULL = DivergedError.exit_code, DiskFullError.exit_code
#: Set in the environment of a job that is one of several: nobody waits for its pictures.
BATCH_VARIABLE = "TRIGAN_BATCH"
#: Signals by which a person or a queue ends a job, which has not failed then: it is missing.
STOP_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Job:
    """One run; ``overrides`` follow ``trigan run``, and ``name`` is unique in the pool, for people.

    ``directory`` is the run's directory, which will hold its record; None for a job without a record. ``composed`` is
    its pickled config, so that a fork need not compose again; None: it does.
    """

    name: str
    overrides: tuple[str, ...]
    directory: Path | None = None
    resources: Resources = field(default_factory=Resources)
    composed: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether the record exists."""
        return self.directory is not None and (self.directory / RECORD_NAME).is_file()


@dataclass(frozen=True)
class JobResult:
    """A job that has ended; ``code`` is its exit code, negative for a signal, 124 for a timeout.

    ``no_record``: it should have left a record and has not, so an exit code of 0 means failure.
    """

    job: Job
    code: int
    seconds: float
    log: Path
    no_record: bool = False

    @property
    def ok(self) -> bool:
        """Whether the job is done."""
        return self.outcome == "done"

    @property
    def outcome(self) -> Literal["done", "failed", "stopped"]:
        """``stopped``: ended from outside, by one of `STOP_SIGNALS` or a full disk; a diverged run is done."""
        if self.code == 0 or self._is_run_with(DIVERGED):
            return "failed" if self.no_record else "done"
        return "stopped" if self._signal in STOP_SIGNALS or self._is_run_with(DISK_FULL) else "failed"

    def _is_run_with(self, code: int) -> bool:
        """Whether it is a run of trigan that ended with this code: other programs give them other meanings."""
        return self.job.directory is not None and self.code == code

    @property
    def _signal(self) -> int:
        """The signal that ended it, or 0; shells, and processes that catch the signal, exit with 128 more."""
        number = -self.code if self.code < 0 else self.code - 128
        return number if number in set(signal.Signals) else 0

    @property
    def how(self) -> str:
        """How it ended, in a few words."""
        if self.code == TIMED_OUT:
            return "timed out"
        if self._is_run_with(DISK_FULL):
            return "the disk was full"
        if self._signal:
            return f"killed by {signal.Signals(self._signal).name}"
        return f"exit {self.code}" if self.code else "exit 0 without a record"

    @property
    def failure(self) -> Failure:
        """How it ended, with the last line of its log that is not blank."""
        lines = [""]
        with suppress(OSError):
            lines += [line.strip() for line in self.log.read_text(errors="replace").split("\n") if line.strip()]
        return Failure(self.how, lines[-1], str(self.log))

    def mark(self) -> None:
        """Write the mark of a failed job into its run directory."""
        if self.outcome == "failed" and self.job.directory is not None and not self.job.finished:
            failure.write(self.job.directory, self.failure)


def log_name(name: str) -> str:
    """The file name of a job's log; a hash of the job's name is appended where the name cannot be used as it is."""
    stem = name.replace("/", "_").encode(errors="replace")[:_LONGEST].decode(errors="ignore")
    if stem != name:
        stem += f"-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    return f"{stem}.log"


def shell_line(arguments: Sequence[str]) -> str:
    """Arguments as one line for a POSIX shell; double quotes, easier to read, where an argument has single ones.

    Raises:
        ConfigError: an argument has a line break or another control character, which some shells and queues obey.
    """
    for word in arguments:
        if not is_printable(word):
            raise ConfigError(f"{word!r}: has a line break or a control character, so no line of a shell can hold it")
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in arguments
    )


def run_options(config_dir: Path | None, force: bool = False, validation_only: bool = False) -> tuple[str, ...]:
    """The options of ``trigan run`` for a process that is started with these arguments."""
    folder = ("--config-dir", str(config_dir.absolute())) if config_dir else ()
    return (*folder, *["--force"] * force, *["--validation-only"] * validation_only)

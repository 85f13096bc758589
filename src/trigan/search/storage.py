"""The storage of a search's trials, shared by all its workers: a journal in a file, or a database."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from trigan.atomic import checksum, file_lock, share, wrap_os_errors
from trigan.errors import ArtifactError, ConfigError, TriganError
from trigan.search.metric import ValidationMetric
from trigan.search.space import Dimension

#: Random trials before TPE begins, and finished trials before any is pruned.
STARTUP_TRIALS = 10
PRUNING_STARTUP_TRIALS = 5

optuna.logging.set_verbosity(optuna.logging.ERROR)


def open_storage(where: str | None, folder: Path) -> BaseStorage:
    """The storage at a URL, in a file, or by default in the search's own folder.

    Raises:
        ConfigError: it cannot be reached, or its driver is not installed.
        ArtifactError: the file is no journal.
    """
    if where is not None and "://" in where:
        return _database(where)
    path = Path(where).expanduser() if where is not None else folder / "journal.log"
    with wrap_os_errors(path):
        lock: Any = _JournalLock(path)
        try:
            storage = JournalStorage(_Journal(str(path), lock_obj=lock))
            share(path)
            return storage
        except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
            raise ArtifactError(f"{path}: not a journal of a search; name another file with --storage") from error


def _database(url: str) -> BaseStorage:
    for attempt in range(3):
        try:
            return RDBStorage(url)
        except (ImportError, ArgumentError) as error:
            raise ConfigError(
                f"--storage {_hidden(url)}: {_line(error)}; e.g. postgresql+psycopg://USER@HOST/NAME"
            ) from error
        except SQLAlchemyError as error:
            if attempt == 2:  # two first workers may both create the tables
                raise ConfigError(f"--storage {_hidden(url)}: {_line(error)}") from error
    raise AssertionError


@contextmanager
def explain_storage_loss(where: str | None) -> Iterator[None]:
    """Turns the loss of the database in the middle of a search into a `TriganError` of one line."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        mend = "when it is back, the same command continues, and runs the interrupted trials again"
        raise TriganError(f"--storage {_hidden(where or '')}: lost ({_line(error)}); {mend}") from error


def open_study(storage: BaseStorage, name: str, metric: ValidationMetric) -> optuna.Study:
    """The Optuna study of a name, created if it does not exist."""
    return optuna.create_study(storage=storage, study_name=name, direction=metric.direction, load_if_exists=True)


def sampler(kind: Literal["random", "tpe"], seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of the point with this number: its draws depend on the seed and the trials, not on the worker."""
    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=own)
    return optuna.samplers.TPESampler(seed=own, n_startup_trials=STARTUP_TRIALS, multivariate=False, constant_liar=True)


def suggest(trial: optuna.Trial, one: Dimension) -> Any:
    """The trial's value of a dimension."""
    if one.kind == "choice":
        return trial.suggest_categorical(one.key, list(one.values))
    low, high = one.values
    log = one.kind.startswith("log")
    if "int" in one.kind:
        return trial.suggest_int(one.key, low, high, log=log)
    return trial.suggest_float(one.key, low, high, log=log)


class _Journal(JournalFileBackend):
    """A journal whose lines have checksums; those written before there were any have none."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines with their checksums."""
        super().append_logs([{**log, "checksum": checksum(log)} for log in logs])

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The lines from a number on; an ArtifactError for one that was damaged or changed."""
        read, mend = log_number_from, "move it away, and the same command finds the runs of finished trials again"
        try:
            for log in super().read_logs(log_number_from):
                if log.get("checksum", checksum(log)) != checksum(log):
                    raise ValueError("its checksum differs")
                yield log
                read += 1
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if read == 0:
                raise ValueError("no journal") from error
            text = f"{self._file_path}: line {read + 1} was damaged or changed ({error}): {mend}"
            raise ArtifactError(text) from error


class _JournalLock:
    """The journal's lock, released by the system when its holder is killed; an incomplete last line is cut off."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, file_lock(path.with_name(f"{path.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        with self._path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _hidden(url: str) -> str:
    """A URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}" if at else url

"""Whether a worker is alive: it holds a lock on a file of its own, which the system releases when it dies."""

import os
import platform
import uuid
from pathlib import Path

from filelock import FileLock

from trigan.atomic import is_locked, make_folder, wrap_os_errors


class WorkerLock:
    """A context: inside it, processes that can read ``folder`` find the worker alive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = FileLock(self._path(self.name))

    def __enter__(self) -> "WorkerLock":
        with wrap_os_errors(self._folder):
            make_folder(self._folder)
            self._lock.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._lock.release()
        if kind is None:  # else the list still has its trials as running: the free lock shows that it died
            self._path(self.name).unlink(missing_ok=True)

    def alive(self, worker: str) -> bool | None:
        """Whether a worker holds its lock; None where its file does not exist: no shared disk."""
        if not self._path(worker).exists():
            return None
        return is_locked(self._path(worker))

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"

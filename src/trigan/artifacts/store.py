"""The content-addressed store: each stage is trained once, by the first run that needs it, and shared by the others.

Layout under the root::

    <digest>/             a finished stage: its files and manifest.json; never changed, only removed
    .partial/<digest>/    a stage in training; kept after a crash, so the next attempt uses its checkpoints
    .locks/<digest>.lock  locked while a process trains or reads the stage; the system unlocks it when the process dies
    .users/<digest>/<run> one empty file per run that needs the stage
"""

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from trigan.artifacts.manifest import CHECKPOINTS, MANIFEST_NAME, DamagedError, Manifest, write_manifest
from trigan.atomic import file_lock, make_folder, remove_partial_files, sync_directory, wrap_os_errors
from trigan.errors import ArtifactError

_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds between two attempts at a lock that another process holds


class InUseError(ArtifactError):
    """Another process trains or reads the stage."""


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of the file ``path``; ``on_wait`` is called once before a wait, and may raise an error instead."""
    with wrap_os_errors(path):
        lock = file_lock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(poll_interval=_POLL)
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class StoreEntry:
    """One line of ``trigan artifacts``; ``created`` is in seconds since 1970, ``users`` are run hashes."""

    digest: str
    kind: str
    bytes: int
    created: float
    users: tuple[str, ...]
    state: Literal["ready", "unfinished", "damaged"] = "ready"


@dataclass
class StageHandle:
    """A stage in the store while its lock is held.

    If ``ready``, ``directory`` is the finished stage, for reading only, and ``manifest`` is the argument of its
    `commit`. Otherwise ``directory`` is where to train, with an earlier attempt's ``checkpoints/``.
    """

    store: "Store"
    digest: str
    kind: str
    description: dict[str, Any]
    directory: Path
    ready: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints, which `commit` removes."""
        return self.directory / CHECKPOINTS

    def commit(self, manifest: dict[str, Any]) -> None:
        """Make the stage final: checksums, manifest, one rename of ``directory``; can be repeated after a crash.

        Every user of the stage gets ``manifest``, plain JSON data. If it cannot be written, the trained files stay.
        """
        if self.ready:
            raise RuntimeError(f"stage {self.digest} is committed already")
        with wrap_os_errors(self.directory):
            remove_partial_files(self.directory)
            write_manifest(self.directory, self.digest, self.kind, self.description, manifest)
        self._finish()

    def _finish(self) -> None:
        """Rename a partial directory that has its manifest, and read back what the next user will get."""
        final = self.store.root / self.digest
        with wrap_os_errors(final):
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for path in [self.directory, *self.directory.rglob("*")]:
                if path.is_dir():
                    sync_directory(path)
            self.directory.replace(final)
            sync_directory(self.store.root)
        self.directory, self.manifest, self.ready = final, Manifest.read(final).content, True

    def _open(self) -> None:
        """Use the finished stage if it is valid, else prepare for training; a damaged one is removed with a warning."""
        final = self.store.root / self.digest
        if final.exists():
            try:
                manifest = Manifest.read(final)
                manifest.verify(final)
                self.directory, self.manifest, self.ready = final, manifest.content, True
                return
            except DamagedError as error:
                _log.warning("%s; the stage %s is trained again", error, self.digest)
                _remove_tree(final)
        with wrap_os_errors(self.directory):
            make_folder(self.directory)
            remove_partial_files(self.directory)
        if (self.directory / MANIFEST_NAME).exists():  # a crash between the manifest and the rename
            try:
                Manifest.read(self.directory).verify(self.directory)
            except DamagedError:
                (self.directory / MANIFEST_NAME).unlink()
                return
            self._finish()


@dataclass(frozen=True)
class Store:
    """The store under ``root``, which is created at the first use."""

    root: Path

    @contextmanager
    def stage(
        self, digest: str, description: dict[str, Any], kind: str, on_wait: Callable[[], None] = lambda: None
    ) -> Iterator[StageHandle]:
        """Lock the stage; its handle is ready, or must be trained and committed.

        The lock is held until the body ends, so that no process removes files that it reads: load and leave, and don't
        train another stage inside. A body that ends without a commit leaves its partial directory to the next one.
        ``description``, the settings as plain data, and ``kind``, one word, go into the manifest. ``on_wait`` is called
        once if another process holds the lock.
        """
        with self._locked(digest, on_wait):
            handle = StageHandle(self, digest, kind, description, self.root / ".partial" / digest)
            handle._open()
            yield handle

    def _locked(self, digest: str, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
            raise ArtifactError(f"{digest!r} is no stage's hash: 8 to 64 characters 0-9 and a-f are expected")
        return locked(self.root / ".locks" / f"{digest}.lock", on_wait)

    def add_user(self, digest: str, run: str) -> None:
        """Record that the run with hash ``run`` needs this stage; repeating it changes nothing."""
        path = self.root / ".users" / digest / run
        with wrap_os_errors(path):
            make_folder(path.parent)
            path.touch()

    def stages_used_by(self, run: str) -> tuple[str, ...]:
        """Sorted hashes of the stages that the run has needed so far."""
        return tuple(sorted(path.parent.name for path in self.root.glob(f".users/*/{run}")))

    def users(self, digest: str) -> tuple[str, ...]:
        """Sorted hashes of the runs that need this stage."""
        return tuple(sorted(path.name for path in (self.root / ".users" / digest).glob("*")))

    def entries(self) -> list[StoreEntry]:
        """All stages, finished or not, oldest first; verifies their manifests, not their files."""
        paths = [*self.root.glob("[!.]*"), *self.root.glob(".partial/*")]
        entries = [self._entry(path) for path in paths if path.is_dir()]
        return sorted(entries, key=lambda entry: (entry.created, entry.digest))

    def _entry(self, directory: Path) -> StoreEntry:
        size, changed = _size_and_time(directory)
        users = self.users(directory.name)
        if directory.parent != self.root:
            return StoreEntry(directory.name, "", size, changed, users, "unfinished")
        try:
            manifest = Manifest.read(directory)
        except ArtifactError:
            return StoreEntry(directory.name, "", size, changed, users, "damaged")
        return StoreEntry(directory.name, manifest.kind, size, manifest.created, users)

    def remove(self, digest: str) -> None:
        """Remove a stage with its partial directory and its list of users; InUseError if a process is using it."""

        def refuse() -> None:
            raise InUseError(f"stage {digest} is in use by another process: try again when it ends")

        with self._locked(digest, refuse):
            if not self._drop(digest):
                raise ArtifactError(f"there is no stage {digest} in {self.root}")
            shutil.rmtree(self.root / ".users" / digest, ignore_errors=True)

    def discard(self, digest: str, on_wait: Callable[[], None] = lambda: None) -> None:
        """Let the next `stage` start from nothing (``--force``); keeps the list of users.

        Does nothing if there is no such stage. Waits for a process that uses it, after one call of ``on_wait``.
        """
        with self._locked(digest, on_wait):
            self._drop(digest)

    def _drop(self, digest: str) -> bool:
        """Remove the stage's directories; returns whether there were any."""
        existing = [path for path in (self.root / digest, self.root / ".partial" / digest) if path.exists()]
        for path in existing:
            _remove_tree(path)
        return bool(existing)


def _size_and_time(directory: Path) -> tuple[int, float]:
    """Bytes and time of the last change; files that another process removes meanwhile do not count."""
    size, changed = 0, 0.0
    for path in [directory, *directory.rglob("*")]:
        with suppress(FileNotFoundError):
            status = path.stat()
            size += 0 if path.is_dir() else status.st_size
            changed = max(changed, status.st_mtime)
    return size, changed


def _remove_tree(directory: Path) -> None:
    """Remove a directory, the manifest first, so that an interrupted removal never leaves a stage that looks valid."""
    with wrap_os_errors(directory, "remove"):
        if not directory.is_dir():
            directory.unlink()
            return
        (directory / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(directory)

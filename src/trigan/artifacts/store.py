"""The content-addressed store: each trained stage once, whoever needs it first trains it, all others use it.

Layout under the root::

    <digest>/             a finished stage: its files and manifest.json; never changed, only removed
    .partial/<digest>/    a stage in training; kept over crashes, so that its checkpoints serve the next attempt
    .locks/<digest>.lock  held while a process trains or reads the stage; the system lets go when the process dies
    .users/<digest>/<run> one empty file per run that needs the stage
"""

import logging
import re
import shutil
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from trigan.artifacts import manifest as manifests
from trigan.artifacts.manifest import DamagedError, Manifest
from trigan.atomic import remove_partial_files, sync_directory, wrap_os_errors
from trigan.errors import ArtifactError

_log = logging.getLogger(__name__)
_POLL = 0.2  # seconds between two looks at a lock that another process holds


class InUseError(ArtifactError):
    """Another process trains or reads the stage."""


@dataclass(frozen=True)
class StoreEntry:
    """One line of ``trigan artifacts``. ``created`` is in seconds since 1970; ``users`` are run hashes."""

    digest: str
    kind: str
    bytes: int
    created: float
    users: tuple[str, ...]
    state: Literal["ready", "unfinished", "damaged"] = "ready"


@dataclass
class StageHandle:
    """A stage's place in the store while its lock is held.

    ``ready``: ``directory`` is the finished stage, to be read only, and ``manifest`` is what :meth:`commit` got.
    Otherwise ``directory`` is where to train, with what an earlier attempt left in its ``checkpoints/``.
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
        """Where checkpoints go; they are dropped at :meth:`commit`."""
        return self.directory / manifests.CHECKPOINTS

    def commit(self, manifest: dict[str, Any]) -> None:
        """Makes the stage final: checksums, manifest, one rename. ``directory`` moves; after a crash it is repeatable.

        Args:
            manifest: plain JSON data that whoever uses the stage gets back.

        Raises:
            ArtifactError: if the disk refuses; what was trained then stays where it is.
        """
        if self.ready:
            raise RuntimeError(f"stage {self.digest} is committed already")
        with wrap_os_errors(self.directory):
            remove_partial_files(self.directory)
            manifests.create_manifest(self.directory, self.digest, self.kind, self.description, manifest).write(
                self.directory
            )
        self._finish()

    def _finish(self) -> None:
        """Promotes a partial directory with a written manifest, and reads back what the next user will see."""
        final = self.store.root / self.digest
        with wrap_os_errors(final):
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            for path in [self.directory, *self.directory.rglob("*")]:
                if path.is_dir():
                    sync_directory(path)
            self.directory.replace(final)
            sync_directory(self.store.root)
        self._use(final, Manifest.read(final))

    def _use(self, directory: Path, found: Manifest) -> None:
        self.directory, self.manifest, self.ready = directory, found.content, True


@dataclass(frozen=True)
class Store:
    """The store under ``root``, which is made when first needed."""

    root: Path

    @contextmanager
    def stage(
        self, digest: str, description: dict[str, Any], kind: str, on_wait: Callable[[], None] | None = None
    ) -> Iterator[StageHandle]:
        """Holds the stage's lock, and gives its slot: ready, or to be trained and committed.

        The lock is held until the body ends, so that nobody removes the files that it reads: load and leave, don't
        train another stage inside. A body that ends without a commit leaves its partial directory for next time.

        Args:
            digest: the stage's hash.
            description: the settings behind it, plain data, written down for people.
            kind: one word for what it is.
            on_wait: called once if another process holds the lock.
        """
        with self._locked(digest, on_wait):
            slot = StageHandle(self, digest, kind, description, self.root / ".partial" / digest)
            if not self._take_final(slot):
                self._prepare(slot)
            yield slot

    def _take_final(self, slot: StageHandle) -> bool:
        """Makes the slot ready if the finished stage is there and sound; a damaged one is removed with a warning."""
        final = self.root / slot.digest
        if not final.exists():
            return False
        try:
            found = Manifest.read(final)
            found.verify(final)
        except DamagedError as error:
            _log.warning("%s; the stage %s is made anew", error, slot.digest)
            with wrap_os_errors(final, "remove"):
                _remove_tree(final)
            return False
        slot._use(final, found)
        return True

    def _prepare(self, slot: StageHandle) -> None:
        """Readies the partial directory; one that was sealed just before a crash is made final at once."""
        with wrap_os_errors(slot.directory):
            slot.directory.mkdir(parents=True, exist_ok=True)
            remove_partial_files(slot.directory)
        if not (slot.directory / manifests.MANIFEST_NAME).exists():
            return
        try:
            Manifest.read(slot.directory).verify(slot.directory)
        except DamagedError:
            (slot.directory / manifests.MANIFEST_NAME).unlink()
            return
        slot._finish()

    @contextmanager
    def _locked(self, digest: str, on_wait: Callable[[], None] | None = None, wait: bool = True) -> Iterator[None]:
        if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
            raise ArtifactError(f"{digest!r} is no stage's hash: 8 to 64 characters 0-9 and a-f are expected")
        path = self.root / ".locks" / f"{digest}.lock"
        with wrap_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not wait:
                    raise InUseError(f"stage {digest} is in use by another process: try again when it ends") from None
                if on_wait is not None:
                    on_wait()
                lock.acquire(timeout=-1, poll_interval=_POLL)
        try:
            yield
        finally:
            lock.release()

    def add_user(self, digest: str, run: str) -> None:
        """Notes that the run with hash ``run`` needs this stage; repeating it changes nothing."""
        place = self.root / ".users" / digest / run
        with wrap_os_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()

    def stages_used_by(self, run: str) -> tuple[str, ...]:
        """The hashes of the stages that the run needs, as far as it has come, sorted."""
        return tuple(sorted(path.parent.name for path in self.root.glob(f".users/*/{run}")))

    def users(self, digest: str) -> tuple[str, ...]:
        """The hashes of the runs that need this stage, sorted."""
        place = self.root / ".users" / digest
        return tuple(sorted(path.name for path in place.iterdir())) if place.is_dir() else ()

    def entries(self) -> list[StoreEntry]:
        """All stages, finished or not, oldest first. Files aren't verified here, only their manifests are."""
        found = [self._entry(path) for path in _directories(self.root) if not path.name.startswith(".")]
        found += [self._entry(path, unfinished=True) for path in _directories(self.root / ".partial")]
        return sorted(found, key=lambda entry: (entry.created, entry.digest))

    def _entry(self, directory: Path, unfinished: bool = False) -> StoreEntry:
        size, changed = _size_and_age(directory)
        users = self.users(directory.name)
        if unfinished:
            return StoreEntry(directory.name, "", size, changed, users, "unfinished")
        try:
            found = Manifest.read(directory)
        except ArtifactError:
            return StoreEntry(directory.name, "", size, changed, users, "damaged")
        return StoreEntry(directory.name, found.kind, size, found.created, users)

    def unused(self, runs: Set[str]) -> list[StoreEntry]:
        """The stages that none of the existing ``runs`` (their hashes) needs."""
        return [entry for entry in self.entries() if not set(entry.users) & runs]

    def remove(self, digest: str) -> None:
        """Removes a stage with all that belongs to it.

        Raises:
            InUseError: a process is using it.
            ArtifactError: there is none of this hash.
        """
        with self._locked(digest, wait=False):
            if not any(path.exists() for path in self._places(digest)):
                raise ArtifactError(f"there is no stage {digest} in {self.root}")
            self._drop(digest)
            with wrap_os_errors(self.root, "clean"):
                shutil.rmtree(self.root / ".users" / digest, ignore_errors=True)

    def discard(self, digest: str, on_wait: Callable[[], None] | None = None) -> None:
        """Makes the next :meth:`stage` start from nothing (``--force``); its users stay noted, absence is fine.

        Waits for a process that is using it; ``on_wait`` is called once before.
        """
        with self._locked(digest, on_wait):
            self._drop(digest)

    def _places(self, digest: str) -> tuple[Path, Path]:
        return self.root / digest, self.root / ".partial" / digest

    def _drop(self, digest: str) -> None:
        for path in self._places(digest):
            with wrap_os_errors(path, "remove"):
                if path.exists():
                    _remove_tree(path)


def _directories(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _size_and_age(directory: Path) -> tuple[int, float]:
    """Bytes and time of last change; files that another process removes meanwhile count as gone."""
    size, changed = 0, 0.0
    for path in [directory, *directory.rglob("*")]:
        with suppress(FileNotFoundError):
            found = path.stat()
            size += 0 if path.is_dir() else found.st_size
            changed = max(changed, found.st_mtime)
    return size, changed


def _remove_tree(directory: Path) -> None:
    """Removes a directory so that a kill in between never leaves one that looks sound: the manifest goes first."""
    if not directory.is_dir():
        directory.unlink()
        return
    (directory / manifests.MANIFEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(directory)

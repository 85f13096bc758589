"""Files and folders that are complete or absent: written under a temporary name, flushed to disk, then renamed."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from trigan.errors import ArtifactError, ConfigError

#: The file that marks a folder as written by trigan, so that --force never removes anything else.
MARKER_FILE = "trigan.json"

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space and start the same command again",
    errno.EDQUOT: "your disk quota is used up: free some space and start the same command again",
    errno.EFBIG: "the file is larger than this process may write: raise the limit (ulimit -f) and start again",
    errno.EROFS: "the file system is read-only: choose an output directory that can be written",
    errno.EACCES: "permission denied: make the directory writable or choose another output directory",
    errno.EPERM: "operation not permitted: make the directory writable or choose another output directory",
    errno.ENOTDIR: "a part of this path is a file, not a directory: move it away or choose another output directory",
    errno.EEXIST: "a file is where a directory is needed: move it away or choose another output directory",
    errno.ENAMETOOLONG: "the path is too long for this file system: choose a shorter output directory",
}


@contextmanager
def wrap_os_errors(path: Path, action: str = "write") -> Iterator[None]:
    """Turn an ``OSError`` of the body into an `ArtifactError`: one line with the path and what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ArtifactError(f"cannot {action} {path}: {reason}") from error


def _temporary(path: Path) -> Path:
    """A new hidden path beside ``path``."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.partial"


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path`` when the body succeeds, and leaves no trace when it fails.

    Missing parent directories are made. An old file stays readable and complete until the rename.

    Raises:
        ArtifactError: the file system refuses (full, read-only, no permission).
    """
    with wrap_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` atomically; errors as in `atomic_write`."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write plain data atomically as indented JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sync_directory(path: Path) -> None:
    """Make renames in the directory ``path`` survive a power cut, where the file system supports it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # some systems cannot open a directory (Windows); the rename is atomic all the same
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network file systems cannot
            raise
    finally:
        os.close(handle)


def remove_partial_files(directory: Path) -> None:
    """Remove temporary files that a killed process left under ``directory``; the caller must hold its lock."""
    for path in directory.rglob(".*.partial"):
        if path.is_file():
            path.unlink(missing_ok=True)


def check_output_folder(folder: Path, force: bool) -> None:
    """Refuse an output folder that is taken; ``force`` allows one that trigan wrote.

    Raises:
        ConfigError: the path exists and is not an empty folder.
    """
    is_link = folder.is_symlink()
    if not is_link and (not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))):
        return
    if not force:
        raise ConfigError(f"--out {folder}: exists already; choose another folder, or add --force to replace it")
    if is_link or not (folder / MARKER_FILE).is_file():
        raise ConfigError(
            f"--out {folder}: was not written by trigan (no {MARKER_FILE} in it), so --force does not replace it"
        )


@contextmanager
def atomic_folder(folder: Path, force: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes ``folder`` when the body succeeds, and leaves no trace when it fails.

    Raises:
        ConfigError: as in `check_output_folder`.
        ArtifactError: the file system refuses.
    """
    folder = folder.expanduser().absolute()
    check_output_folder(folder, force)
    temporary = _temporary(folder)
    with wrap_os_errors(folder), signals_handled(_unwind, signal.SIGTERM):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if not (temporary / MARKER_FILE).is_file():
                raise ValueError(f"a folder without {MARKER_FILE}")
            _replace_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, folder: Path) -> None:
    """Rename ``new`` to ``folder``; an existing folder is renamed first, removed last, and restored on failure."""
    old = new.with_suffix(".old")
    exists = folder.exists()
    if exists:
        os.replace(folder, old)
    try:
        os.replace(new, folder)
    except OSError:
        if exists:
            os.replace(old, folder)
        raise
    sync_directory(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _unwind(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def signals_handled(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """Handle signals in the body; outside the main thread, where no handler can be installed, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            with contextlib.suppress(TypeError):  # a handler that was not set from Python cannot be restored
                signal.signal(number, former)

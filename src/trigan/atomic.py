"""Files and folders that are complete or absent: written under a temporary name, flushed to disk, then renamed."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from trigan.errors import ArtifactError, ConfigError, DiskFullError

#: The file that marks a folder as written by trigan, so that --force never removes anything else.
MARKER_FILE = "trigan.json"

#: Seconds after which a temporary file was left by a killed process: its writer changes it more often.
_LEFT_OVER = 600.0

_FULL = (errno.ENOSPC, errno.EDQUOT)
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
        kind = DiskFullError if error.errno in _FULL else ArtifactError
        raise kind(f"cannot {action} {path}: {reason}") from error


@contextmanager
def full_disk_interrupts() -> Iterator[None]:
    """Turn an ``OSError`` of a full disk, wherever in the body, into a `DiskFullError`; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(f"cannot write {error.filename or 'a file'}: {_REASONS[error.errno]}") from error


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents; each gets the group's permissions of the folder that it lies in."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        share(path)


def share(path: Path) -> None:
    """Let the group do with a new file or folder what it may do with the folder around it, whatever the umask is."""
    with contextlib.suppress(OSError):  # it belongs to another user, or the file system has no permissions
        around, own = path.parent.stat().st_mode, path.stat().st_mode
        bits = stat.S_IRWXG | stat.S_ISGID if path.is_dir() else stat.S_IRGRP | stat.S_IWGRP
        path.chmod(stat.S_IMODE(own | around & bits))


def file_lock(path: Path) -> FileLock:
    """The lock of a file, which is made with its folder if they are missing."""
    make_folder(path.parent)
    if not path.exists():
        path.touch()
        share(path)
    return FileLock(path)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file, or may hold it: another user's may not be tested."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, PermissionError):
        return True


def _temporary(path: Path) -> Path:
    """A new hidden path beside ``path``."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.partial"


def _remove_left_over(path: Path) -> None:
    """Remove what a killed process left of an attempt to write ``path``."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _LEFT_OVER:
                shutil.rmtree(old) if old.is_dir() else old.unlink()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears at ``path`` when the body succeeds, and leaves no trace when it fails.

    Missing parent directories are made. An old file stays readable and complete until the rename.

    Raises:
        ArtifactError: the file system refuses (full, read-only, no permission).
    """
    with wrap_os_errors(path):
        make_folder(path.parent)
        _remove_left_over(path)
        temporary = _temporary(path)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            share(temporary)
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


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain JSON data without the key ``checksum``, whatever their order and layout in the file."""
    body = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse_json(data: bytes, required: bool = False) -> dict[str, Any]:
    """The JSON object of a file; its ``checksum``, if it has or is ``required`` to have one, must be that of the rest.

    Raises:
        ValueError: it is none, has NaN or an infinity, is nested too deeply, or its checksum differs.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        content = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"not a JSON object, but a {type(content).__name__}")
    if (required or "checksum" in content) and content.get("checksum") != checksum(content):
        raise ValueError("its checksum differs, so it was changed or damaged after it was written")
    return content


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
            _remove_left_over(folder)
            make_folder(temporary)
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

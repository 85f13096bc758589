"""Files that are either whole or not there: written beside their place, flushed to the disk, then renamed onto it."""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from trigan.errors import ArtifactError

_PREFIX, _SUFFIX = ".", ".partial"

_MENDS = {
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


@contextlib.contextmanager
def wrap_os_errors(path: Path, action: str = "write") -> Iterator[None]:
    """Turns an ``OSError`` of the body into an :class:`ArtifactError` of one line that names the path and the mend."""
    try:
        yield
    except OSError as error:
        reason = _MENDS.get(error.errno or 0, error.strerror or str(error))
        raise ArtifactError(f"cannot {action} {path}: {reason}") from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file whose content appears at ``path`` when the body ends well, and leaves no trace when it doesn't.

    Missing parent directories are made. The old file stays readable, and whole, until the very rename.

    Raises:
        ArtifactError: if the disk refuses (full, read-only, no permission), in one line.
    """
    with wrap_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{_PREFIX}{path.name}.{secrets.token_hex(4)}{_SUFFIX}"
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
    """Writes ``data`` atomically; errors as :func:`atomic_write`."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` atomically as UTF-8; errors as :func:`atomic_write`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes plain data atomically as indented JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def sync_directory(path: Path) -> None:
    """Makes renames in the directory ``path`` survive a power cut, where the file system can do that at all."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return  # directories can't be opened on some systems (Windows); the rename itself is still atomic
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network file systems can't
            raise
    finally:
        os.close(handle)


def remove_partial_files(directory: Path) -> None:
    """Removes temporary files that a killed process left under ``directory``; only for the one who holds its lock."""
    for path in directory.rglob(f"{_PREFIX}*{_SUFFIX}"):
        if path.is_file():
            path.unlink(missing_ok=True)

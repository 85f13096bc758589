"""An index of what files say: thousands of records are read from one file, and only what changed is read anew.

It is a cache and never the truth: an entry holds for a file of the same size, times and inode, and an index that is
damaged, or of another version, is built again.
"""

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trigan.atomic import write_bytes
from trigan.errors import ArtifactError
from trigan.version import __version__

INDEX_NAME = ".records.index"
#: Raise this when what is kept of a file changes.
_LAYOUT = 1
#: Fewer entries are read as fast from their files.
_MIN_ENTRIES = 200
#: A file may change again, unseen, within the resolution of its times: younger ones are not kept.
_SETTLED_NS = 2_000_000_000


class FileIndex:
    """What was derived from files of the folders in ``root``, plain JSON data, kept in a file there.

    `get` derives it, `save` writes the index if something is new; one that cannot be written is left as it is.
    """

    def __init__(self, root: Path) -> None:
        self._path, self._used, self._changed = root / INDEX_NAME, dict[str, Any](), False
        self._stored = _read(self._path)

    def __enter__(self) -> "FileIndex":
        return self

    def __exit__(self, *exception: object) -> None:
        self.save()

    def get(self, path: Path, kind: str, derive: Callable[[Path], Any]) -> Any:
        """``derive(path)``, or what it gave for the same file earlier; ``kind`` names the function."""
        key = f"{kind} {path.parent.name}/{path.name}"
        try:
            status = path.stat()
        except OSError:
            return derive(path)
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        entry = self._stored.get(key)
        if entry is None or entry[0] != stamp:
            entry = [stamp, derive(path)]
            if time.time_ns() - status.st_ctime_ns < _SETTLED_NS:
                return entry[1]
            self._changed = True
        self._used[key] = entry
        return entry[1]

    def save(self) -> None:
        """Write what was used since, with the entries of files that were not asked for but still exist."""
        if not self._changed or len(self._used) < _MIN_ENTRIES:
            return
        root = self._path.parent
        others = {key: one for key, one in self._stored.items() if (root / key.partition(" ")[2]).exists()}
        body = json.dumps(others | self._used, separators=(",", ":")).encode()
        with suppress(ArtifactError):
            write_bytes(self._path, _header(body) + body)
        self._changed = False


def _header(body: bytes) -> bytes:
    """The first line of an index: its version, and the checksum of the rest."""
    return f"trigan {__version__} index {_LAYOUT} {hashlib.sha256(body).hexdigest()}\n".encode()


def _read(path: Path) -> dict[str, Any]:
    """The entries; none where there is no index, or a damaged one."""
    try:
        header, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if header + b"\n" != _header(body):
        return {}
    with collector_paused():
        found: dict[str, Any] = json.loads(body)
    return found


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's collector from visiting each object of thousands of records again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()

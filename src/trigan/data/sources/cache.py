"""Decoded data sets on disk, so that 70,000 PNGs are decoded once and not in each process."""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from trigan.data.types import ImageDataset
from trigan.errors import DataError

#: Moves when the layout below or the decoding changes.
_LAYOUT = 1
#: Larger arrays are mapped into memory instead of read.
_MAP_FROM = 256 * 2**20


def cached(cache: Path | None, key: Any, build: Callable[[], ImageDataset]) -> ImageDataset:
    """``build()``, or what an earlier call with the same ``key`` built under ``cache``.

    Args:
        cache: folder of the decoded data sets; None: build anew.
        key: JSON data that name everything that the result depends on (settings; files with sizes and times).

    Raises:
        DataError: if the folder cannot be written. A damaged entry is rebuilt.
    """
    if cache is None:
        return build()
    name = sha256(json.dumps([_LAYOUT, key], sort_keys=True).encode()).hexdigest()[:32]
    folder = cache / "decoded" / name
    with _writing(cache):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        lock.acquire()
    try:
        source = _read(folder)
        if source is None:
            source = build()
            with _writing(cache):
                _write(folder, source)
        return source
    finally:
        lock.release()


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot keep decoded images under {cache}: {reason}; free it or choose another cache"
        ) from error


def _write(folder: Path, source: ImageDataset) -> None:
    """All files into a temporary folder beside ``folder``, then one rename."""
    arrays = {"images": source.images, "labels": source.labels, "digests": source.digests}
    if source.official_test is not None:
        arrays["official_test"] = source.official_test
    facts = {"name": source.name, "class_names": source.class_names, "fingerprint": source.fingerprint}
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a killed process: the lock is ours, so nobody writes there
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for name, tensor in arrays.items():
            np.save(temporary / f"{name}.npy", tensor.numpy())
        checks = {name: _checksum(tensor.numpy()) for name, tensor in arrays.items()}
        (temporary / "dataset.json").write_text(json.dumps({**facts, "checks": checks}))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(folder: Path) -> ImageDataset | None:
    """The stored source, or None if there is none or it is damaged."""
    try:
        facts = json.loads((folder / "dataset.json").read_text())
        arrays = {name: _load(folder / f"{name}.npy") for name in facts["checks"]}
        if any(_checksum(arrays[name]) != check for name, check in facts["checks"].items()):
            return None
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return ImageDataset(
            facts["name"],
            tensors["images"],
            tensors["labels"],
            tuple(facts["class_names"]),
            facts["fingerprint"],
            tensors["digests"],
            tensors.get("official_test"),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, DataError):
        return None


def _load(path: Path) -> np.ndarray:
    # Mapped copy-on-write: torch wants memory that it may write to, and the file must never change by that.
    return np.load(path, mmap_mode="c" if path.stat().st_size >= _MAP_FROM else None, allow_pickle=False)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

"""Decoded data sets on disk: 70,000 PNGs are decoded once, not in each process."""

import errno
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trigan.atomic import file_lock, share, wrap_os_errors
from trigan.datasets.host_images import HostImages
from trigan.datasets.sources.closed import refuse_if_closed
from trigan.datasets.types import ImageDataset, fingerprint_of
from trigan.errors import DataError

#: Raise this when the file's layout or the decoding changes.
_LAYOUT = 3


def cached(
    cache: Path | None, key: Any, build: Callable[[], ImageDataset], stored: HostImages | None = None
) -> ImageDataset:
    """``build()``, or the result of an earlier call with the same ``key``. A damaged entry is built again.

    Args:
        cache: folder of the decoded data sets; None: always build.
        key: JSON data of everything the result depends on (settings; files with sizes and times).
        build: reads the data set.
        stored: its images, if they stay in their own files: the cache then holds all but them.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    refuse_if_closed()
    if cache is None:
        return build()
    path = _path(cache, key)
    with _write_errors(cache):
        lock = file_lock(path.with_suffix(".lock")).acquire()
    with lock:
        dataset = _read(path, stored)
        if dataset is None:
            dataset = build()
            with _write_errors(cache):
                _write(path, dataset)
        return dataset


def cached_facts(cache: Path, key: Any) -> dict[str, Any] | None:
    """All fields of the stored data set but its tensors, from the head of its file; None if there is none."""
    try:
        with _path(cache, key).open("rb") as file:  # the format: https://github.com/huggingface/safetensors
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        facts: dict[str, Any] = json.loads(head["__metadata__"]["facts"])
        return facts
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _path(cache: Path, key: Any) -> Path:
    name = sha256(json.dumps([_LAYOUT, key], sort_keys=True).encode()).hexdigest()[:32]
    return cache / "decoded" / f"{name}.safetensors"


@contextmanager
def _write_errors(cache: Path) -> Iterator[None]:
    with wrap_os_errors(cache):
        try:
            yield
        except SafetensorError as error:  # it has an OSError's text alone
            raise OSError(errno.ENOSPC if "No space left" in str(error) else errno.EIO, str(error)) from error


def _write(path: Path, dataset: ImageDataset) -> None:
    """Write beside ``path``, then rename; the caller's lock keeps other processes away from both files."""
    kept = {name: value for name, value in vars(dataset).items() if not isinstance(value, HostImages)}
    fields = {name: value for name, value in kept.items() if value is not None}
    tensors = {name: value.contiguous() for name, value in fields.items() if isinstance(value, Tensor)}
    facts = json.dumps({name: value for name, value in fields.items() if name not in tensors})
    partial = path.with_suffix(".partial")
    try:
        save_file(tensors, partial, {"facts": facts, "checksum": _checksum(facts, tensors)})
        share(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path, stored: HostImages | None) -> ImageDataset | None:
    """The stored data set, mapped into memory copy-on-write; None if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            names, metadata = file.keys(), file.metadata()
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in names}
        if metadata["checksum"] != _checksum(metadata["facts"], tensors):
            return None
        facts: dict[str, Any] = json.loads(metadata["facts"])
        lists = {name: tuple(facts[name]) for name in ("class_names", "notes")}
        images = {} if stored is None else {"images": stored}
        dataset = ImageDataset(**{**facts, **tensors, **lists, **images})
        marks = (dataset.official_test, dataset.groups, dataset.official_validation)
        known = fingerprint_of(dataset.digests, dataset.labels, *marks)
        return dataset if dataset.fingerprint == known else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, DataError):
        return None


def _checksum(facts: str, tensors: Mapping[str, Tensor]) -> str:
    checksum = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].numpy().data.cast("B"), checksum)
    return str(checksum)

"""Checkpoints that survive a full disk, a kill and a bad sector: atomic, checksummed, with the previous one kept.

A checkpoint is plain data (tensors, numbers, texts, lists and dictionaries), so ``torch.load(weights_only=True)`` reads
it without running code. Next to ``step-000001500.ckpt`` is ``step-000001500.ckpt.sha256``.
"""

import hashlib
import io
import logging
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from trigan.atomic import wrap_os_errors, write_bytes, write_text
from trigan.errors import ArtifactError

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step-(\d{9,})\.ckpt")
_LEAVES = (type(None), bool, int, float, str, bytes, torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype)


def checkpoint_path(directory: Path, step: int) -> Path:
    """Path of the checkpoint after ``step`` batches."""
    return directory / f"step-{step:09d}.ckpt"


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoint plugin, atomic and checksummed; a directory keeps its newest two."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path`` and its checksum next to it, then remove all but the newest two.

        Raises:
            TypeError: if the checkpoint has anything but tensors and plain data.
            ArtifactError: if it cannot be written; earlier checkpoints are then unchanged.
        """
        path = Path(path)
        _check_plain(checkpoint, "checkpoint")
        buffer = io.BytesIO()  # a failed write inside torch's own zip writer would abort without a reason
        torch.save(checkpoint, buffer)
        data = buffer.getbuffer()
        write_bytes(path, data)
        write_text(_checksum_path(path), _checksum(path, data) + "\n")
        if _NAME.fullmatch(path.name):
            for old in _newest_first(path.parent)[2:]:
                self.remove_checkpoint(old)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Read one checkpoint after verifying its checksum, always with ``weights_only=True``.

        Raises:
            ArtifactError: if it is missing, unreadable, or differs from what was written at this path.
        """
        path = Path(path)
        with wrap_os_errors(path, "read"):
            data = path.read_bytes()
        with wrap_os_errors(_checksum_path(path), "read"):
            expected = _checksum_path(path).read_bytes().strip()
        if _checksum(path, data).encode() != expected:
            raise ArtifactError(f"cannot use {path}: its bytes don't match its checksum; delete it and train again")
        try:
            loaded: dict[str, Any] = torch.load(io.BytesIO(data), map_location=map_location or "cpu", weights_only=True)
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise ArtifactError(f"cannot use {path}: it is no checkpoint; delete it and train again") from error
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint and its checksum if they exist."""
        path = Path(path)
        with wrap_os_errors(path, "remove"):
            path.unlink(missing_ok=True)
            _checksum_path(path).unlink(missing_ok=True)


def load_latest(directory: Path) -> dict[str, Any] | None:
    """The newest valid checkpoint of ``directory``, on the CPU, or None; logs a warning for each damaged one."""
    reader = AtomicCheckpointIO()
    for path in _newest_first(directory):
        try:
            return reader.load_checkpoint(path)
        except ArtifactError as error:
            _log.warning("%s; trying the checkpoint before it, if there is one", error)
    return None


def _checksum(path: Path, data: bytes | memoryview) -> str:
    """SHA-256 of a checkpoint with its stage and step, so that the checkpoint of another stage is not taken."""
    sha = hashlib.sha256(f"{path.parent.parent.name}/{path.name}\n".encode())
    sha.update(data)
    return sha.hexdigest()


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _newest_first(directory: Path) -> list[Path]:
    """The ``step-*.ckpt`` files of ``directory``."""
    if not directory.is_dir():
        return []
    numbered = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def _check_plain(value: Any, where: str) -> None:
    """Raise a TypeError that locates the first value that ``weights_only`` loading would refuse."""
    kind = type(value)
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            _check_plain(key, f"{where} (a key)")
            _check_plain(item, f"{where}[{key!r}]")
    elif kind in (list, tuple, set):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif kind not in _LEAVES:
        raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}: checkpoints hold tensors and plain data")

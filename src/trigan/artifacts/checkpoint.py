"""Checkpoints that survive a full disk, a kill and a bad sector: atomic, checksummed, the previous one kept.

A checkpoint is plain data: tensors, numbers, texts, lists and dictionaries, so that ``torch.load(weights_only=True)``
reads it without running code. Beside ``step-000001500.ckpt`` lies ``step-000001500.ckpt.sha256``.
"""

import hashlib
import io
import logging
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from trigan.atomic import wrap_os_errors, write_bytes, write_text
from trigan.errors import ArtifactError, ConfigError

_log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{9,})\.ckpt")
_LEAVES = (type(None), bool, int, float, str, bytes, torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype)


def checkpoint_path(directory: Path, step: int) -> Path:
    """The place of the checkpoint after ``step`` batches."""
    return directory / f"step-{step:09d}.ckpt"


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way to the disk, made safe; ``keep`` newest ``step-*.ckpt`` stay in a directory (at least 1)."""

    def __init__(self, keep: int = 2) -> None:
        if keep < 1:
            raise ConfigError(f"checkpoints to keep must be 1 or more, not {keep}")
        self.keep = keep

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes ``checkpoint`` to ``path`` and its checksum beside it, then removes what is older than ``keep``.

        Raises:
            TypeError: if the checkpoint holds anything but tensors and plain data.
            ArtifactError: if the disk refuses; the checkpoints before this one are then untouched.
        """
        path = Path(path)
        _refuse_foreign(checkpoint, "checkpoint")
        buffer = io.BytesIO()  # a failing write inside torch's own zip writer would abort without a reason
        torch.save(checkpoint, buffer)
        data = buffer.getbuffer()
        write_bytes(path, data)
        write_text(_sidecar(path), hashlib.sha256(data).hexdigest() + "\n")
        if _NAME.fullmatch(path.name):
            for old in _numbered(path.parent)[self.keep :]:
                self.remove_checkpoint(old)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """Reads one checkpoint after verifying its checksum, always with ``weights_only=True``.

        Raises:
            ArtifactError: if it is missing, unreadable, or not the bytes that were written.
        """
        path = Path(path)
        with wrap_os_errors(path, "read"):
            data = path.read_bytes()
        with wrap_os_errors(_sidecar(path), "read"):
            wanted = _sidecar(path).read_text().strip()
        if hashlib.sha256(data).hexdigest() != wanted:
            raise ArtifactError(f"cannot use {path}: its bytes don't match its checksum; delete it and train again")
        checkpoint = torch.load(io.BytesIO(data), map_location=map_location or "cpu", weights_only=True)
        assert isinstance(checkpoint, dict)
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Removes a checkpoint and its checksum, where they exist."""
        path = Path(path)
        with wrap_os_errors(path, "remove"):
            path.unlink(missing_ok=True)
            _sidecar(path).unlink(missing_ok=True)


def load_latest(directory: Path) -> dict[str, Any] | None:
    """The newest checkpoint of ``directory`` whose checksum verifies, on the CPU; ``None`` if there is none.

    Each damaged one is passed over with one warning line.
    """
    reader = AtomicCheckpointIO()
    for path in _numbered(directory):
        try:
            return reader.load_checkpoint(path)
        except ArtifactError as error:
            _log.warning("%s; going on from the one before it, if there is one", error)
    return None


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _numbered(directory: Path) -> list[Path]:
    """The ``step-*.ckpt`` files of ``directory``, newest first."""
    if not directory.is_dir():
        return []
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _refuse_foreign(value: Any, where: str) -> None:
    """Raises a TypeError that names the place of the first thing that ``weights_only`` loading would refuse."""
    kind = type(value)
    if kind in _LEAVES:
        return
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            _refuse_foreign(key, f"{where} (a key)")
            _refuse_foreign(item, f"{where}[{key!r}]")
    elif kind in (list, tuple, set):
        for index, item in enumerate(value):
            _refuse_foreign(item, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {kind.__module__}.{kind.__qualname__}: checkpoints hold tensors and plain data")

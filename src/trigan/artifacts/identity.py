"""What makes two things the same: a canonical text of plain values, dataclasses and functions, and its SHA-256.

Objects describe themselves, so a stage has the same hash whether Hydra or a Python script built it.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor


def describe(value: Any) -> Any:
    """``value`` as plain JSON data: dataclasses, ``functools.partial`` and functions by qualified name and arguments.

    Dataclass fields with ``metadata={"identity": False}`` (devices, worker counts) are left out.

    Raises:
        TypeError: for an object that has no canonical form; nothing is described by its memory address.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"float": repr(value)}
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        return {"type": _name(type(value)), **{f.name: describe(getattr(value, f.name)) for f in fields}}
    if isinstance(value, functools.partial):
        return {"call": _name(value.func), "args": describe(list(value.args)), **describe(value.keywords)}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value) and hasattr(value, "__qualname__") and "<locals>" not in value.__qualname__:
        return {"function": _name(value)}
    raise TypeError(f"{type(value).__qualname__} has no canonical form, so it cannot be part of a stage's identity")


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def canonical(value: Any) -> str:
    """The one JSON text of ``describe(value)``: sorted keys, no spaces."""
    return json.dumps(describe(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 64) -> str:
    """SHA-256 of :func:`canonical`, as ``length`` hexadecimal characters."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def tensor_digest(*tensors: Tensor | None) -> str:
    """SHA-256 over dtype, shape and bytes of the tensors, in order; ``None`` counts as itself."""
    sha = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            sha.update(b"none;")
            continue
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        sha.update(f"{array.dtype.str}{array.shape};".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over a state dict: names in sorted order, then each tensor's dtype, shape and bytes."""
    sha = hashlib.sha256()
    for name in sorted(state):
        sha.update(
            f"{name}:{tensor_digest(state[name].float() if state[name].dtype.itemsize == 2 else state[name])};".encode()
        )
    return sha.hexdigest()

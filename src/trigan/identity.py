"""What makes two things the same: a canonical text of plain values, dataclasses and functions, and its SHA-256.

Objects describe themselves, so a stage has the same hash whether Hydra or a Python script built it.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: For a dataclass field that came later: at None it is left out, so that what went without it keeps its hash.
IF_SET = {"identity": "if set"}


def describe(value: Any) -> Any:
    """``value`` as plain JSON data: dataclasses, ``functools.partial`` and functions by qualified name and arguments.

    Dataclass fields with ``metadata={"identity": False}`` (devices, worker counts) are left out, and those with
    ``metadata=IF_SET`` where they are None.

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
        rules = {f.name: f.metadata.get("identity", True) for f in dataclasses.fields(value)}
        counted = {name: getattr(value, name) for name, rule in rules.items() if rule}
        kept = {name: item for name, item in counted.items() if item is not None or rules[name] != IF_SET["identity"]}
        return _tagged("type", _name(type(value)), {name: describe(item) for name, item in kept.items()})
    if isinstance(value, functools.partial):
        arguments = _tagged("args", describe(list(value.args)), describe(value.keywords))
        return _tagged("call", _name(value.func), arguments)
    if isinstance(value, Mapping):
        if any(not isinstance(key, str | int) for key in value) or len({str(key) for key in value}) < len(value):
            raise TypeError("a mapping has a canonical form only if its keys are distinct texts or integers")
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return {"function": _name(value)}
    raise TypeError(f"{type(value).__qualname__} has no canonical form, so it cannot be part of a stage's identity")


def _tagged(tag: str, owner: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` and what they belong to under ``tag``; refused where a field of that name would hide it."""
    if tag in fields:
        raise TypeError(f"a field named {tag!r} has no canonical form beside {owner!r}: name it otherwise")
    return {tag: owner, **fields}


def _name(thing: Any) -> str:
    """The import path of a class or function; refused where the path alone doesn't say which one it is."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    owner = getattr(thing, "__self__", None)
    if isinstance(owner, type):  # a class method: inherited ones carry their parent's qualified name
        return f"{_name(owner)}.{thing.__name__}"
    if not module or not name or "<" in name or not (owner is None or inspect.ismodule(owner)):
        raise TypeError(f"{thing!r} has no import path that says all of it, so it cannot be part of a stage's identity")
    return f"{module}.{name}"


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
        plain = tensor.detach().cpu().contiguous()
        half = plain.dtype is torch.bfloat16  # NumPy has no such type: take the same bits as integers
        array = plain.view(torch.int16).numpy() if half else plain.numpy()
        sha.update(f"{'bfloat16' if half else array.dtype.str}{array.shape};".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over a state dict: names in sorted order, then each tensor's dtype, shape and bytes."""
    sha = hashlib.sha256()
    for name in sorted(state):
        sha.update(f"{name}:{tensor_digest(state[name])};".encode())
    return sha.hexdigest()

"""What makes two things the same: a canonical text of plain values, components and functions, and its SHA-256.

Objects describe themselves, so a stage has the same hash whether Hydra or a Python script built it, and a config has
the hash of the objects that it describes. A component counts by its stable identifier (:mod:`trigan.components`) and by
the arguments that differ from its defaults: a class that moves, or gets a further argument, keeps its hashes.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trigan.components import identifier_of, import_object, source_digest

#: Top-level packages whose classes and functions count by their import path alone.
LIBRARIES = ("builtins", "torch", "pytorch_lightning", "torchmetrics")
#: Hydra's words in a node that name no argument.
_HYDRA = ("_target_", "_convert_", "_recursive_")


def canonical_form(value: Any) -> Any:
    """``value`` as plain JSON data.

    Dataclasses, ``functools.partial``, functions and config nodes with a ``_target_`` are told by identifier and by the
    arguments that differ from the defaults. Dataclass fields with ``metadata={"identity": False}`` (devices, worker
    counts) are left out; one with a function there counts by what that gives for its value (a file by its content).

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
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return _tagged("type", type(value), _arguments(type(value), fields))
    if isinstance(value, functools.partial):
        arguments = {"args": canonical_form(list(value.args)), **canonical_form(value.keywords)}
        if "args" in value.keywords:
            raise TypeError(f"an argument named 'args' has no canonical form beside {value.func!r}: name it otherwise")
        return _tagged("call", value.func, arguments)
    if isinstance(value, Mapping):
        if any(not isinstance(key, str | int) for key in value) or len({str(key) for key in value}) < len(value):
            raise TypeError("a mapping has a canonical form only if its keys are distinct texts or integers")
        return (
            _describe_node(value)
            if "_target_" in value
            else {str(k): canonical_form(item) for k, item in value.items()}
        )
    if isinstance(value, list | tuple):
        return [canonical_form(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return {"function": _name(value)}
    raise TypeError(f"{type(value).__qualname__} has no canonical form, so it cannot be part of a stage's identity")


def _describe_node(node: Mapping[Any, Any]) -> dict[str, Any]:
    """A config node as the object that it builds."""
    target = import_object(str(node["_target_"]))
    return _tagged("type", target, _arguments(target, {k: v for k, v in node.items() if k not in _HYDRA}))


def _arguments(target: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call that count, described: those that differ from the defaults."""
    rules, defaults = identity_rules(target), defaults_of(target)
    kept = {}
    for name, value in given.items():
        rule = rules.get(name, True)
        if rule is False:
            continue
        text = canonical_form(rule(value) if callable(rule) else value)
        if name not in defaults or callable(rule) or text != defaults[name]:
            kept[name] = text
    return kept


def identity_rules(target: Any) -> dict[str, Any]:
    """How each field of a dataclass counts: True, False, or by a function of its value; nothing for other targets."""
    if not dataclasses.is_dataclass(target):
        return {}
    return {field.name: field.metadata.get("identity", True) for field in dataclasses.fields(target)}


def defaults_of(target: Any) -> dict[str, Any]:
    """The described defaults of a class's or function's arguments, for those that have one with a canonical form."""
    if dataclasses.is_dataclass(target):
        pairs = [
            (f.name, f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
            for f in dataclasses.fields(target)
        ]
        found = {name: default for name, default in pairs if default is not dataclasses.MISSING}
    else:
        try:
            parameters = inspect.signature(target).parameters.values()
        except (TypeError, ValueError):
            return {}
        found = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    described = {}
    for name, default in found.items():
        try:
            described[name] = canonical_form(default)
        except TypeError:  # a library's default that is an object: an equal value is then simply written out
            continue
    return described


def _tagged(tag: str, owner: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` and what they belong to under ``tag``; refused where a field of that name would hide it."""
    if tag in fields:
        raise TypeError(f"a field named {tag!r} has no canonical form beside {owner!r}: name it otherwise")
    return {tag: _name(owner), **fields}


def _name(thing: Any) -> str | dict[str, str]:
    """A component's identifier; a library's import path; the import path and source digest of a user's own.

    Raises:
        TypeError: neither says which one it is (a lambda, a bound method), or a class of trigan has no identifier.
    """
    if (identifier := identifier_of(thing)) is not None:
        return identifier
    path = _import_path(thing)
    package = path.partition(".")[0]
    if package == "trigan":
        raise TypeError(f"{path} has no @component identifier, so it cannot be part of a stage's identity")
    return path if package in LIBRARIES else {"path": path, "source": source_digest(package)}


def _import_path(thing: Any) -> str:
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    owner = getattr(thing, "__self__", None)
    if isinstance(owner, type):  # a class method: inherited ones carry their parent's qualified name
        return f"{_import_path(owner)}.{thing.__name__}"
    if not module or not name or "<" in name or not (owner is None or inspect.ismodule(owner)):
        raise TypeError(f"{thing!r} has no import path that says all of it, so it cannot be part of a stage's identity")
    return f"{module}.{name}"


def canonical_json(value: Any) -> str:
    """The one JSON text of ``canonical_form(value)``: sorted keys, no spaces."""
    return json.dumps(canonical_form(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 64) -> str:
    """SHA-256 of :func:`canonical_json`, as ``length`` hexadecimal characters."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


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

"""The identity of settings, components and tensors: a canonical JSON text and its SHA-256.

An object built by Hydra, the same object built in Python, and the config node that describes it have the same text. A
component counts by its stable identifier (`trigan.component_ids`) and the arguments that differ from its defaults, so
a class that moves or gets a new argument keeps its hashes.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.component_ids import identifier_of, import_object, source_digest

if TYPE_CHECKING:
    from torch import Tensor

#: Top-level packages whose classes and functions count by their import path alone.
LIBRARIES = ("builtins", "torch", "pytorch_lightning", "torchmetrics")
#: Bytes of a tensor that are hashed at a time.
_BYTES_AT_ONCE = 2**24
#: Hydra's keys of a config node that are no arguments.
_HYDRA_KEYS = ("_target_", "_convert_", "_recursive_")


def canonical_form(value: Any) -> Any:
    """``value`` as plain JSON data.

    Dataclasses, ``functools.partial``, functions and config nodes with a ``_target_`` become a name and the arguments
    that differ from the defaults. Dataclass fields with ``metadata={"identity": False}`` (devices, worker counts) are
    left out; with a function there, the field counts by that function of its value (a file by its content).

    Raises:
        TypeError: ``value`` has no canonical form; memory addresses never count.
        ConfigError: it is a user's class or function without a source file.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return {"float": repr(value)}
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return _mapping_form(value)
    if isinstance(value, list | tuple):
        return list(map(canonical_form, value))
    if isinstance(value, Path):
        return str(value)
    if callable(value) or dataclasses.is_dataclass(value):
        return _component_form(value)
    raise TypeError(f"{type(value).__qualname__} has no canonical form, so it cannot be part of a stage's identity")


def _mapping_form(value: Mapping[Any, Any]) -> dict[str, Any]:
    """The form of a dictionary, or of the object that a config node builds."""
    if any(not isinstance(key, str | int) for key in value) or len({str(key) for key in value}) < len(value):
        raise TypeError("a mapping has a canonical form only if its keys are distinct texts or integers")
    if "_target_" not in value:
        return {str(key): canonical_form(item) for key, item in value.items()}
    target = import_object(str(value["_target_"]))
    return _tagged("type", target, _arguments(target, {k: v for k, v in value.items() if k not in _HYDRA_KEYS}))


def _component_form(value: Any) -> dict[str, Any]:
    """The form of a dataclass instance, a ``functools.partial``, or a class or function itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        return _tagged("type", type(value), _arguments(type(value), fields))
    if isinstance(value, functools.partial):
        if "args" in value.keywords:
            raise TypeError(f"an argument named 'args' has no canonical form beside {value.func!r}: rename it")
        return _tagged("call", value.func, canonical_form({"args": value.args, **value.keywords}))
    return {"function": _name(value)}


def _arguments(target: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The forms of the arguments that count: those that differ from the defaults."""
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    rules = {field.name: field.metadata.get("identity", True) for field in fields}
    defaults = defaults_of(target)
    forms = {}
    for name, value in given.items():
        rule = rules.get(name, True)
        if rule:
            form = canonical_form(rule(value) if callable(rule) else value)
            if name not in defaults or _json(form) != _json(defaults[name]):  # as text, 1 and True differ
                forms[name] = form
    return forms


def defaults_of(target: Any) -> dict[str, Any]:
    """The forms of the default arguments of a class or function; defaults without a canonical form are left out."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # written in C
        return {}
    defaults = {name: one.default for name, one in parameters.items() if one.default is not one.empty}
    for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
        if field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
    forms = {}
    for name, default in defaults.items():
        with suppress(TypeError):  # of an object without a canonical form, which no argument can equal
            forms[name] = canonical_form(default)
    return forms


def _tagged(tag: str, owner: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """``arguments`` with the name of their owner under ``tag``, unless an argument has that name."""
    if tag in arguments:
        raise TypeError(f"a field named {tag!r} has no canonical form beside {owner!r}: rename it")
    return {tag: _name(owner), **arguments}


def _name(thing: Any) -> str | dict[str, str]:
    """A component's identifier, a library's import path, or the import path and source digest of a user's code.

    Raises:
        TypeError: ``thing`` has no import path (a lambda, a bound method), or is a trigan class without an identifier.
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
    if isinstance(owner, type):  # an inherited class method has its parent's qualified name
        return f"{_import_path(owner)}.{thing.__name__}"
    if not module or not name or "<" in name or not (owner is None or inspect.ismodule(owner)):
        raise TypeError(f"{thing!r} has no import path that identifies it, so it cannot be part of a stage's identity")
    return f"{module}.{name}"


def _json(form: Any) -> str:
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """The JSON text of ``canonical_form(value)``, with sorted keys and without spaces."""
    return _json(canonical_form(value))


def digest(value: Any, length: int = 64) -> str:
    """The first ``length`` hexadecimal characters of the SHA-256 of `canonical_json`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def tensor_digest(*tensors: "Tensor | None") -> str:
    """SHA-256 over dtype, shape and bytes of the tensors, in order; ``None`` counts as itself."""
    import torch  # takes seconds, which the identity of settings does without

    sha = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            sha.update(b"none;")
            continue
        plain = tensor.detach().cpu()
        is_bfloat16 = plain.dtype is torch.bfloat16  # NumPy has no such type: hash the same bits as integers
        kind = "bfloat16" if is_bfloat16 else torch.empty(0, dtype=plain.dtype).numpy().dtype.str
        sha.update(f"{kind}{tuple(plain.shape)};".encode())
        rows_at_once = max(1, _BYTES_AT_ONCE * len(plain) // plain.nbytes) if plain.ndim and plain.numel() else 0
        for part in torch.split(plain, rows_at_once) if rows_at_once else [plain]:  # images may be in files
            rows = part.contiguous()
            array = rows.view(torch.int16).numpy() if is_bfloat16 else rows.numpy()
            sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def weights_digest(state: "Mapping[str, Tensor]") -> str:
    """SHA-256 over a state dict: names in sorted order, then each tensor's dtype, shape and bytes."""
    text = "".join(f"{name}:{tensor_digest(state[name])};" for name in sorted(state))
    return hashlib.sha256(text.encode()).hexdigest()

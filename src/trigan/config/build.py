"""The objects that a checked config describes."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hydra._internal.utils import _locate

from trigan.config.nodes import targets
from trigan.config.override_rules import first_line
from trigan.config.pretraining_data import pretraining_source, unwrap_pretraining_source, with_pretraining_keys
from trigan.config.settings import PRETRAINING_DATA_KEY
from trigan.errors import ConfigError, TriganError

#: Hydra's keys that are not given to a target; the positional arguments in ``_args_`` are.
_NOT_ARGUMENTS = ("_target_", "_partial_", "_recursive_", "_convert_")
#: The fingerprints of other data sets that this process has read, by their sources and their files' sizes and times.
_FINGERPRINTS: dict[str, str | None] = {}


class Built(SimpleNamespace):
    """The built top-level nodes by name; those without a ``_target_`` are absent, and ``data`` is the source itself."""


def build(config: dict[str, Any]) -> Built:
    """Build every top-level node that holds a ``_target_``; a ConfigError with the key if an object refuses."""
    nodes = unwrap_pretraining_source(config).items()
    built = {key: _build(node, key) for key, node in nodes if next(targets(node), None)}
    if isinstance(built.get("data"), dict):  # beside the source are settings that other nodes refer to
        built["data"] = built["data"]["source"]
    return Built(**built)


def _build(node: Any, key: str) -> Any:
    """The object of a node, inner nodes first; Hydra's keys have Hydra's meaning, lists and mappings stay plain."""
    if isinstance(node, list):
        return [_build(item, f"{key}.{index}") for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    plain = {name: item for name, item in node.items() if name not in _NOT_ARGUMENTS}
    if node.get("_recursive_", True):
        plain = {name: _build(item, f"{key}.{name}") for name, item in plain.items()}
    if "_target_" not in node:
        return plain
    positional = plain.pop("_args_", [])
    target = _locate(node["_target_"])
    try:
        bound = functools.partial(target, *positional, **plain)
        return bound if node.get("_partial_") else bound()
    except TriganError as error:
        raise ConfigError(_with_key(first_line(error), key, node)) from error
    except Exception as error:
        raise ConfigError(f"{key}: {type(error).__name__}: {first_line(error)}") from error


def _with_key(text: str, key: str, node: dict[str, Any]) -> str:
    """An object's message with the full key of its setting in front, unless the message has it."""
    if key.startswith(PRETRAINING_DATA_KEY):
        text = with_pretraining_keys(text)
    group, word = key.partition(".")[0], re.split(r"[^\w.]", text, maxsplit=1)[0]
    if word == group or word.startswith(f"{group}."):
        return text
    return f"{key}.{text}" if word.split(".")[0] in node else f"{key}: {text}"


def load_pretraining_data(config: Mapping[str, Any], cache: Path) -> Any:
    """The data set (`ImageDataset`) of the other data choice, from the cache if it was read before; or None."""
    return _read_pretraining(config, lambda source: source.load(cache))


def pretraining_fingerprint(config: Mapping[str, Any], cache: Path) -> str | None:
    """The fingerprint of that data set, which a process reads again if its files change; None if there is none."""
    stamps = _read_pretraining(config, lambda source: source.key())
    key = json.dumps([pretraining_source(config), str(cache), stamps], sort_keys=True)
    if stamps is None or key not in _FINGERPRINTS:
        data = load_pretraining_data(config, cache)
        _FINGERPRINTS[key] = None if data is None else str(data.fingerprint)
    return _FINGERPRINTS[key]


def _read_pretraining(config: Mapping[str, Any], read: Callable[[Any], Any]) -> Any:
    """What ``read`` gives for the other data choice's source, with its errors in the names of that choice; or None."""
    source = pretraining_source(config)
    if source is None:
        return None
    try:
        return read(_build(source, PRETRAINING_DATA_KEY))
    except TriganError as error:
        raise type(error)(with_pretraining_keys(str(error))) from error

"""Types of a config: each ``_target_`` node against its signature, each plain leaf against its default."""

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trigan.config.allow_list import import_target
from trigan.config.nodes import targets, walk
from trigan.config.pretraining_data import unwrap_pretraining_source
from trigan.config.settings import LIMITS, TOP_LEVEL, AtLeast, Evaluation, Paths, TuningInfo
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: Hydra's own keys inside a ``_target_`` node.
_HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
#: The types of plain values: the Python classes of their values, and their words in an error line.
_PLAIN: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "an int"),
    float: ((int, float), "a number"),
    str: (str, "a string"),
    Path: (str, "a path"),
    types.NoneType: (types.NoneType, "null"),
}


def check(config: dict[str, Any], defaults: dict[str, Any], own: Sequence[str] = ()) -> None:
    """Refuse a resolved config with an unknown argument, a missing one, or a value of the wrong type.

    Its targets have passed `check_targets` with the same ``own``. ``defaults`` are the same choices without the user's
    values, unresolved: a plain leaf keeps the type of its default.
    """
    check_numbers(config)
    config = unwrap_pretraining_source(config)
    for key, node in targets(config):
        _check_target(key, node, import_target(key, node["_target_"], own))
    _check_plain("", config, defaults)


def check_numbers(config: dict[str, Any]) -> None:
    """Refuse numbers that are not finite, take more than 64 bits, or are above the limit of settings of their name."""
    for key, value in walk(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if isinstance(value, float) and not math.isfinite(value):  # in no range, and not in JSON
            raise ConfigError(f"{key}: expected a finite number, got {value}")
        limit = LIMITS.get(key.rpartition(".")[2], 2**63 - 1 if isinstance(value, int) else value)
        if value > limit or value < -(2**63):
            shown = value if abs(value) < 10**30 else "a number of over 30 digits"
            raise ConfigError(f"{key}={shown}: expected at most {limit}; give a smaller number")


def check_top_level(config: dict[str, Any]) -> None:
    """Refuse settings outside every group that are missing, unknown or of the wrong type."""
    for key, hint in TOP_LEVEL.items():
        if key in config:
            _check_value(key, config[key], hint)
    for missing in (name for name in get_type_hints(Paths) if name not in config.get("paths", {name: ""})):
        raise ConfigError(f"paths.{missing}: not given, and it has no default")
    TuningInfo(**(config.get("tuned") or {}))  # refuses a search without labels
    Evaluation(**(config.get("evaluation") or {}))  # refuses a specificity that is none


def _check_target(key: str, node: dict[str, Any], target: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return
    try:
        plain_class = inspect.isclass(target) and not dataclasses.is_dataclass(target)
        hints = get_type_hints(target.__init__ if plain_class else target, include_extras=True)
    except Exception:  # annotations that do not exist at run time: names are checked, values are not
        hints = {}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    for name in (name for name in node if name not in _HYDRA_KEYS):
        if name in named:
            _check_value(f"{key}.{name}", node[name], hints.get(name, Any))
        elif not open_ended:
            raise ConfigError(f"{key}.{name}: {node['_target_']} has no such argument{nearest_hint(name, named)}")
    if not node.get("_partial_") and "_args_" not in node:
        for name in sorted(named - node.keys()):
            if parameters[name].default is inspect.Parameter.empty:
                raise ConfigError(f"{key}.{name}: not given, and {node['_target_']} has no default for it")


def _check_plain(key: str, value: Any, default: Any) -> None:
    """A leaf outside every ``_target_`` node keeps the type of its default; a default of null allows any value."""
    if key in TOP_LEVEL or (isinstance(value, dict) and "_target_" in value):
        return
    if isinstance(value, dict) and isinstance(default, dict):
        for name, item in value.items():
            _check_plain(f"{key}.{name}" if key else str(name), item, default.get(name))
        return
    interpolated = isinstance(default, str) and ("${" in default or default == "???")
    expected_type = list if isinstance(default, list) else type(default)
    if not (default is None or value is None or interpolated or _matches(value, expected_type)):
        raise _wrong(key, value, expected_type)


def _check_value(key: str, value: Any, hint: Any) -> None:
    if key in TOP_LEVEL and isinstance(value, dict):
        kind = next((option for option in (hint, *get_args(hint)) if dataclasses.is_dataclass(option)), None)
        if kind is None:
            raise _wrong(key, value, hint)
        hints = get_type_hints(kind, include_extras=True)
        for name, item in value.items():
            if name not in hints:
                raise ConfigError(f"{key}.{name}: no such setting{nearest_hint(name, hints)}")
            _check_value(f"{key}.{name}", item, hints[name])
    elif not _matches(value, hint):
        raise _wrong(key, value, hint)


def _matches(value: Any, hint: Any) -> bool:
    if isinstance(value, dict) and "_target_" in value:
        return True  # another node's object; that node is checked by itself
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Any, object, inspect.Parameter.empty) or isinstance(hint, TypeVar):
        return True
    if origin is Annotated:
        return _matches(value, args[0]) and all(value >= mark.low for mark in args[1:] if isinstance(mark, AtLeast))
    if origin in (Union, types.UnionType):
        return any(_matches(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if hint in _PLAIN:
        return isinstance(value, _PLAIN[hint][0]) and (hint is bool or not isinstance(value, bool))
    return _matches_container(value, origin or hint, args)


def _matches_container(value: Any, kind: Any, args: tuple[Any, ...]) -> bool:
    if not inspect.isclass(kind):
        return True  # NewType, ParamSpec and the like do not restrict plain values
    if getattr(kind, "_is_protocol", False):
        return False  # only a node with a `_target_` gives an object with its methods
    if issubclass(kind, Mapping):
        return isinstance(value, dict) and (not args or all(_matches(item, args[1]) for item in value.values()))
    if kind is tuple and args and args[-1] is not Ellipsis:
        return isinstance(value, list) and len(value) == len(args) and all(map(_matches, value, args))
    if issubclass(list, kind) or issubclass(kind, tuple | list | set | frozenset):
        return isinstance(value, list) and (not args or all(_matches(item, args[0]) for item in value))
    return isinstance(value, kind)  # an object of a class: only a node with a `_target_` gives one


def expected(hint: Any) -> str:
    """What a hint allows, in words: ``an int >= 0``, ``one of a, b``, ``a list, each a number or null``."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint][1]
    if origin is Annotated:
        return " ".join([expected(args[0]), *(f">= {mark.low}" for mark in args[1:] if isinstance(mark, AtLeast))])
    if origin in (Union, types.UnionType):
        return " or ".join(expected(option) for option in args)
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in args)
    if origin is tuple and args and args[-1] is not Ellipsis:
        return f"a list of {len(args)} values ({', '.join(expected(option) for option in args)})"
    if origin in (list, tuple, Sequence) and args:
        return f"a list, each {expected(args[0])}"
    if hint in (list, tuple):
        return "a list"
    if inspect.isclass(origin or hint) and issubclass(origin or hint, Mapping):
        return "a mapping"
    return f"a node whose _target_ builds a {getattr(hint, '__name__', hint)}"


def show(value: Any) -> str:
    """A value as a user types it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrong(key: str, value: Any, hint: Any) -> ConfigError:
    literal = get_origin(hint) is Literal and isinstance(value, str)
    hint_text = nearest_hint(value, [str(option) for option in get_args(hint)]) if literal else ""
    if isinstance(value, bool | int | float) and _matches("", hint) and not literal:
        hint_text = f"; as text: \"{key}='{show(value)}'\""
    return ConfigError(f"{key}={show(value)}: expected {expected(hint)}{hint_text}")

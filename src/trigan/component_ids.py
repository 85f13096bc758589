"""Stable identifiers of configurable classes and functions, so that a file can move without changing any hash.

``@component("objective/triple_gan@1")`` gives a class or function an identifier with a version. YAML names code by
import path (``_target_``); hashes and records contain identifiers. The version goes up when the same settings give
other numbers, as after a changed default; a new field whose default leaves the numbers alone needs none.
``component_fields.json``, beside this file, lists every default.
"""

import functools
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from trigan.errors import ConfigError

T = TypeVar("T", bound=Callable[..., Any])

_ATTRIBUTE = "__component__"
_FORM = re.compile(r"[a-z0-9_]+/[a-z0-9_]+@[1-9][0-9]*")
_DECLARATION = re.compile(r'^@component\("([^"]+)"\)\n(?:@.*\n)*(?:class|def) (\w+)', re.MULTILINE)
_TARGET = "_target_"
#: Key of a record's config node that names its component, instead of ``_target_``.
IDENTIFIER_KEY = "_id_"


def component(identifier: str) -> Callable[[T], T]:
    """Decorate a class or function with an identifier.

    Args:
        identifier: ``kind/name@version`` in lower case, such as ``architecture/dcgan@1``; unique in the package.
    """
    if not _FORM.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not of the form kind/name@version")

    def decorate(target: T) -> T:
        setattr(target, _ATTRIBUTE, identifier)
        return target

    return decorate


def identifier_of(target: Any) -> str | None:
    """The identifier of a class or function, or None; a base class's identifier does not count."""
    identifier = getattr(target, "__dict__", {}).get(_ATTRIBUTE)
    return identifier if isinstance(identifier, str) else None


@functools.cache
def identifier_paths() -> Mapping[str, str]:
    """Identifier -> import path, for every component of the package; read from its source, nothing is imported."""
    root = Path(__file__).parent
    paths: dict[str, str] = {}
    for file in sorted(root.rglob("*.py")):
        module = ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        for identifier, name in _DECLARATION.findall(file.read_text(encoding="utf-8")):
            if identifier in paths:
                raise ValueError(f"{identifier} names both {paths[identifier]} and {module}.{name}")
            paths[identifier] = f"{module}.{name}"
    return paths


def with_identifiers(config: Any) -> Any:
    """A plain config as a record stores it: identifiers instead of the import paths of components."""

    def identified(path: str) -> tuple[str, str]:
        identifier = identifier_of(import_object(path))
        return (_TARGET, path) if identifier is None else (IDENTIFIER_KEY, identifier)

    return _replace_items(config, _TARGET, identified)


@functools.cache
def known_defaults() -> Mapping[str, Mapping[str, Any]]:
    """Identifier -> the defaults of its fields, from ``component_fields.json``; nothing is imported."""
    defaults: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("component_fields.json").read_text())
    return defaults


def with_defaults(config: Any) -> Any:
    """A record's config with every field of its components: those that came after the record have their default.

    Example:
        >>> with_defaults({"_id_": "augmentation/diffaugment@1", "cutout": 0.3})["color"]
        True
    """
    if isinstance(config, list):
        return [with_defaults(item) for item in config]
    if not isinstance(config, dict):
        return config
    defaults = known_defaults().get(config.get(IDENTIFIER_KEY, ""), {})
    missing = {key: _as_node(value) for key, value in defaults.items() if key not in config}
    return {key: with_defaults(value) for key, value in {**config, **missing}.items()}


def _as_node(default: Any) -> Any:
    """A default's form (`trigan.identity.canonical_form`) as a node of a record's config."""
    if not isinstance(default, dict):
        return default
    return {IDENTIFIER_KEY if key == "type" else key: _as_node(value) for key, value in default.items()}


def as_config(value: Any) -> Any:
    """A built object as a record's config has it: its identifier or import path, and all its fields."""
    if isinstance(value, list | tuple):
        return [as_config(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): as_config(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    owner = value if hasattr(value, "__qualname__") else type(value)  # a class or function counts itself
    identifier = identifier_of(owner)
    name = {_TARGET: f"{owner.__module__}.{owner.__qualname__}"} if identifier is None else {IDENTIFIER_KEY: identifier}
    own = fields(value) if is_dataclass(value) and owner is not value else ()
    return {**name, **{field.name: as_config(getattr(value, field.name)) for field in own}}


def with_targets(config: Any) -> Any:
    """The inverse of `with_identifiers`.

    Raises:
        ConfigError: an identifier is unknown, or the installed package has another version of it.
    """
    return _replace_items(config, IDENTIFIER_KEY, lambda identifier: (_TARGET, _path_of(identifier)))


def _replace_items(value: Any, key: str, replacement: Callable[[Any], tuple[str, str]]) -> Any:
    """A copy of plain data in which ``replacement(v)`` replaces each item ``key: v``, and comes first."""
    if isinstance(value, list):
        return [_replace_items(item, key, replacement) for item in value]
    if not isinstance(value, dict):
        return value
    first = dict([replacement(value[key])]) if key in value else {}
    return first | {name: _replace_items(item, key, replacement) for name, item in value.items() if name != key}


def _path_of(identifier: object) -> str:
    paths = identifier_paths()
    if isinstance(identifier, str) and identifier in paths:
        return paths[identifier]
    name = str(identifier).partition("@")[0]
    installed = next((known for known in paths if known.partition("@")[0] == name), None)
    if installed is not None:
        raise ConfigError(f"{identifier}: this trigan has {installed}, whose settings or numbers differ")
    raise ConfigError(f"{identifier}: no component of this trigan has that identifier")


def import_object(path: str) -> Any:
    """The class or function at an import path, such as ``package.module.Class`` or ``package.module.Outer.Inner``.

    The path must have passed the allow-list: importing a module runs its code.
    """
    module, _, name = path.rpartition(".")
    try:
        owner = import_module(module)
    except ModuleNotFoundError as error:
        # either `module` is a class, or the import failed for another reason: a missing package or dependency
        if "." not in module or not f"{module}.".startswith(f"{error.name}."):
            raise
        owner = import_object(module)
    return getattr(owner, name)


@functools.cache
def source_digest(package: str) -> str:
    """SHA-256 over relative paths and contents of the Python files of an imported top-level package or module.

    It is computed once per process, and does not cover other packages that the code imports.

    Raises:
        ConfigError: the module has no source file (a notebook cell, an interactive session, a built-in).
    """
    module = sys.modules[package]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*.py")]
    if own := None if folders else getattr(module, "__file__", None):
        files = [(Path(own).name, Path(own))]
    if not files:
        raise ConfigError(
            f"{package} has no source file, so its classes and functions cannot be part of a hash; "
            "move them from the notebook or session to a module, and import that"
        )
    text = "".join(f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()};" for name, path in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()

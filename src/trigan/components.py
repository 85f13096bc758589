"""Stable names of configurable classes and functions, so that a file can move without a change of any hash.

``@component("objective/triple_gan@1")`` gives a class or function an identifier and a version. Hashes are taken of
identifiers and records store them; ``_target_`` with an import path is how YAML names code. The version goes up when
the same settings give other numbers: a changed default is such a change, a new field whose default leaves the numbers
alone is none (``tests/component_fields.json`` holds every default).
"""

import functools
import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from trigan.errors import ConfigError

T = TypeVar("T", bound=Callable[..., Any])

_ATTRIBUTE = "__component__"
_FORM = re.compile(r"[a-z0-9_]+/[a-z0-9_]+@[1-9][0-9]*")
_DECLARATION = re.compile(r'^@component\("([^"]+)"\)\n(?:@.*\n)*(?:class|def) (\w+)', re.MULTILINE)
#: Key of a node in a record that names its component, in the place of ``_target_``.
IDENTIFIER_KEY = "_id_"


def component(identifier: str) -> Callable[[T], T]:
    """A decorator that names a class or function, as in ``architecture/dcgan@1``.

    Args:
        identifier: ``kind/name@version``, all lower case; unique in the package.
    """
    if not _FORM.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is not of the form kind/name@version")

    def name(target: T) -> T:
        setattr(target, _ATTRIBUTE, identifier)
        return target

    return name


def identifier_of(target: Any) -> str | None:
    """The identifier of a class or function; None if it has none of its own (a base class's does not count)."""
    found = vars(target).get(_ATTRIBUTE) if hasattr(target, "__dict__") else None
    return found if isinstance(found, str) else None


@functools.cache
def identifier_paths() -> Mapping[str, str]:
    """Every identifier of the package with the import path of what it names, read from the source files."""
    root = Path(__file__).parent
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        module = ".".join(("trigan", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for identifier, name in _DECLARATION.findall(path.read_text(encoding="utf-8")):
            if identifier in found:
                raise ValueError(f"{identifier} names both {found[identifier]} and {module}.{name}")
            found[identifier] = f"{module}.{name}"
    return found


def with_identifiers(node: Any) -> Any:
    """A plain config as a record stores it: the import path of each component gives way to its identifier."""
    if isinstance(node, list):
        return [with_identifiers(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: with_identifiers(item) for key, item in node.items() if key != "_target_"}
    if "_target_" not in node:
        return plain
    found = identifier_of(import_object(node["_target_"]))
    return {"_target_": node["_target_"], **plain} if found is None else {IDENTIFIER_KEY: found, **plain}


def with_targets(node: Any) -> Any:
    """The reverse of :func:`with_identifiers`.

    Raises:
        ConfigError: an identifier is unknown, or this trigan has another version of it.
    """
    if isinstance(node, list):
        return [with_targets(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: with_targets(item) for key, item in node.items() if key != IDENTIFIER_KEY}
    return {"_target_": _path_of(node[IDENTIFIER_KEY]), **plain} if IDENTIFIER_KEY in node else plain


def _path_of(identifier: object) -> str:
    if isinstance(identifier, str) and identifier in identifier_paths():
        return identifier_paths()[identifier]
    name = str(identifier).partition("@")[0]
    others = [known for known in identifier_paths() if known.partition("@")[0] == name]
    if others:
        raise ConfigError(f"{identifier}: this trigan has {others[0]}, whose settings or numbers differ")
    raise ConfigError(f"{identifier}: no component of this trigan has that identifier")


def import_object(path: str) -> Any:
    """The class or function of an import path that has passed the allow-list."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError:  # a class method: the last two parts are names
        return getattr(import_object(module), name)


@functools.cache
def source_digest(package: str) -> str:
    """SHA-256 over the Python files of a user's own top-level package or module, by relative path and content."""
    module = sys.modules[package]
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    pairs = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*.py")]
    if not folders:
        own = Path(str(module.__file__))
        pairs = [(own.name, own)]
    sha = hashlib.sha256()
    for name, path in sorted(pairs):
        sha.update(f"{name}:{hashlib.sha256(path.read_bytes()).hexdigest()};".encode())
    return sha.hexdigest()

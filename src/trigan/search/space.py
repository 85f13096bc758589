"""A search space: ``conf/search/NAME.yaml``, each hyperparameter's default beside its distribution."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trigan.atomic import wrap_os_errors
from trigan.config import locations
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: A plain value of a setting.
Value = None | bool | int | float | str
#: Ranges are given as [low, high], a choice as all its values.
RANGES = ("uniform", "log_uniform", "int", "log_int")
KINDS = (*RANGES, "choice")


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter. ``values``: low and high of a range, or all of a choice."""

    key: str
    default: Value
    kind: str
    values: tuple[Any, ...]

    def contains(self, value: Any) -> bool:
        """Whether a value lies in the distribution."""
        if self.kind == "choice":
            return any(_same(value, one) for one in self.values)
        return (
            _number(value) and self.values[0] <= value <= self.values[1] and ("int" not in self.kind or _whole(value))
        )

    def override(self, value: Value) -> str:
        """The setting as it is written on a command line."""
        return f"{self.key}={hydra_literal(value)}"


@dataclass(frozen=True)
class SearchSpace:
    """What is searched: the settings that all trials share, and the dimensions."""

    name: str
    strategy: tuple[str, ...]
    dimensions: tuple[Dimension, ...]

    @property
    def default_point(self) -> dict[str, Value]:
        """The point that a search begins with."""
        return {one.key: one.default for one in self.dimensions}

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """The settings of a point."""
        return [one.override(point[one.key]) for one in self.dimensions]

    def as_dict(self) -> dict[str, Any]:
        """The space as plain data."""
        return {"strategy": list(self.strategy), "space": [[d.key, d.kind, list(d.values)] for d in self.dimensions]}


def list_spaces(extra: Path | None = None) -> dict[str, Path]:
    """Every space by name: trigan's own, and those of ``search/`` in the user's folder of groups, which come first."""
    folders = [locations.conf(), *([extra] if extra else [])]
    return {path.stem: path for folder in folders for path in sorted((folder / "search").glob("*.yaml"))}


def find_space(name: str, extra: Path | None = None) -> SearchSpace:
    """The space of a name, or of a path that ends in ``.yaml``.

    Raises:
        ConfigError: there is none, or it is not sound.
    """
    known = list_spaces(extra)
    path = Path(name) if name.endswith(".yaml") else known.get(name)
    if path is None or not path.is_file():
        raise ConfigError(f"{name}: no such search space; there are {', '.join(known)}{nearest_hint(name, known)}")
    return read_space(path)


def read_space(path: Path) -> SearchSpace:
    """The space of a file, checked in itself; :func:`check_defaults` checks it against the config."""
    with wrap_os_errors(path, "read"):
        text = path.read_text(errors="replace")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or set(content) != {"strategy", "space"}:
        raise ConfigError(f"{path}: expected two keys, strategy (a list of settings) and space")
    strategy, given = content["strategy"], content["space"]
    if not isinstance(strategy, list) or not all(isinstance(word, str) and "=" in word for word in strategy):
        raise ConfigError(f"{path}: strategy: expected a list of key=value, e.g. [strategy=joint]")
    if not isinstance(given, dict) or not given:
        raise ConfigError(f"{path}: space: expected settings, each with its default and its distribution")
    return SearchSpace(
        path.stem, tuple(strategy), tuple(_dimension(path, str(key), node) for key, node in given.items())
    )


def _dimension(path: Path, key: str, node: Any) -> Dimension:
    where = f"{path}: {key}"
    kinds = [kind for kind in KINDS if isinstance(node, dict) and kind in node]
    if not isinstance(node, dict) or len(kinds) != 1 or set(node) != {"default", *kinds}:
        raise ConfigError(f"{where}: expected {{default: VALUE, KIND: [...]}}, KIND one of {', '.join(KINDS)}")
    kind, values = kinds[0], node[kinds[0]]
    if kind in RANGES:
        sound = isinstance(values, list) and len(values) == 2 and all(map(_number, values)) and values[0] < values[1]
        if not sound or ("int" in kind and not all(map(_whole, values))):
            raise ConfigError(f"{where}: {kind}: expected [low, high], {'whole ' if 'int' in kind else ''}numbers")
        if kind.startswith("log") and values[0] <= 0:
            raise ConfigError(f"{where}: {kind}: low is {values[0]}, and has to be above 0")
    elif not isinstance(values, list) or len(values) < 2 or not all(isinstance(v, Value) for v in values):
        raise ConfigError(f"{where}: choice: expected a list of two plain values or more")
    found = Dimension(key, node["default"], kind, tuple(values))
    if not found.contains(found.default):
        raise ConfigError(f"{where}: the default {hydra_literal(found.default)} lies outside {kind} {values}")
    return found


def check_defaults(space: SearchSpace, config: Mapping[str, Any], choices: Mapping[str, str | None]) -> None:
    """Refuse a space whose defaults are not what the config has: its first trial would not be the default.

    Args:
        config: resolved, with the space's settings and the user's.
        choices: chosen option by group.
    """
    for one in space.dimensions:
        value = config_value(one.key, config, choices)
        if not _same(value, one.default):
            raise ConfigError(
                f"space {space.name}: {one.key}: its default is {hydra_literal(one.default)}, and with these settings the "
                f"config has {hydra_literal(value)}; copy the space to DIR/search/NAME.yaml, change it there, and give "
                "--config-dir DIR"
            )


def config_value(key: str, config: Mapping[str, Any], choices: Mapping[str, str | None]) -> Any:
    """What a composed config has for a setting, or for a group's choice."""
    if (group := key.replace(".", "/")) in choices:
        return choices[group]
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise ConfigError(f"{key}: no such setting beside the others of its space")
        node = node[part]
    return node


def hydra_literal(value: Any) -> str:
    """A value as Hydra reads it back: ``null``, ``true``, ``0.001``, ``'a b'``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        plain = value.replace("_", "").replace("-", "").isalnum() and value.lower() not in ("null", "true", "false")
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return value if plain and not _numeric(value) else f"'{escaped}'"
    return repr(value)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Equal, and not a number beside a truth value or a text."""
    kinds = [bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in (one, other)]
    return bool(one == other) and kinds[0] is kinds[1]

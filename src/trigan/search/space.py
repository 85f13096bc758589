"""A search space: ``conf/search/NAME.yaml``, each hyperparameter's default beside its distribution."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, Field, Strict, model_validator

from trigan.config import locations
from trigan.config.compose import RunConfig
from trigan.config.nodes import dotted_keys, node_at
from trigan.config.override_rules import hydra_literal
from trigan.config.settings_file import check_settings
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.studies.file_model import FileModel, ListOf, Settings, Text, read_file


def _ascending(values: tuple[Any, Any]) -> tuple[Any, Any]:
    if values[0] >= values[1]:
        raise ValueError
    return values


def _searchable(key: str) -> str:
    check_settings([key])
    return key


#: A plain value of a setting.
Value = None | bool | int | float | str
_T = TypeVar("_T")
_Range = Annotated[tuple[_T, _T], Strict(False), AfterValidator(_ascending)]
_Number = int | Annotated[float, Field(allow_inf_nan=False)]
_Above0 = Annotated[_Number, Field(gt=0)]
_Int = int  # the schema below has a field of that name
_IntAbove0 = Annotated[int, Field(gt=0)]
_Values = Annotated[ListOf[Value], Field(min_length=2)]
_Key = Annotated[str, AfterValidator(_searchable)]
_KINDS = ("uniform", "log_uniform", "int", "log_int", "choice")


class DistributionSchema(FileModel):
    """A hyperparameter in the file: its default and exactly one distribution.

    Where the point has one of the values ``unless``, by dimension, the hyperparameter keeps the config's value.
    """

    default: Value = Field(description="a plain value")
    uniform: _Range[_Number] | None = Field(default=None, description="[low, high], ascending numbers")
    log_uniform: _Range[_Above0] | None = Field(default=None, description="[low, high], ascending numbers above 0")
    int: _Range[_Int] | None = Field(default=None, description="[low, high], ascending whole numbers")
    log_int: _Range[_IntAbove0] | None = Field(default=None, description="[low, high], ascending whole numbers above 0")
    choice: _Values | None = Field(default=None, description="a list of two plain values or more")
    unless: dict[str, Value] = Field(default={}, description="other settings of the space, each with a plain value")

    @model_validator(mode="after")
    def _default_lies_inside(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise ValueError(f"expected {{default: VALUE, KIND: [...]}}, KIND one of {', '.join(_KINDS)}")
        dimension = self.dimension("")
        if not dimension.contains(self.default):
            raise ValueError(
                f"the default {hydra_literal(self.default)} lies outside {dimension.kind} {list(dimension.values)}"
            )
        return self

    def dimension(self, key: str) -> "Dimension":
        """The dimension of a setting."""
        kind = next(kind for kind in _KINDS if getattr(self, kind) is not None)
        return Dimension(key, self.default, kind, getattr(self, kind), tuple(self.unless.items()))


class SearchSpaceSchema(FileModel):
    """The content of a search space's file: settings of all trials, and the hyperparameters by their setting."""

    strategy: Settings
    extends: Text | None = Field(
        default=None, description="the name of a space whose hyperparameters this one has, too"
    )
    space: dict[_Key, DistributionSchema] = Field(
        min_length=1, description="settings, each with its default and its distribution"
    )


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter. ``values``: low and high of a range, or all of a choice.

    It is left alone where another dimension has the value that ``unless`` pairs with its key.
    """

    key: str
    default: Value
    kind: str
    values: tuple[Any, ...]
    unless: tuple[tuple[str, Value], ...] = ()

    def applies(self, point: Mapping[str, Any]) -> bool:
        """Whether no value of the point excludes the dimension."""
        return not any(key in point and _same(point[key], value) for key, value in self.unless)

    def contains(self, value: Any) -> bool:
        """Whether a value lies in the distribution."""
        if self.kind == "choice":
            return any(_same(value, one) for one in self.values)
        number = int if "int" in self.kind else (int, float)
        return isinstance(value, number) and not isinstance(value, bool) and self.values[0] <= value <= self.values[1]


@dataclass(frozen=True)
class SearchSpace:
    """What is searched: the settings that all trials share, and the dimensions."""

    name: str
    strategy: tuple[str, ...]
    dimensions: tuple[Dimension, ...]

    @property
    def default_point(self) -> dict[str, Value]:
        """The first point of a search."""
        return {one.key: one.default for one in self.dimensions}

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """The settings of a point, as they are written on a command line."""
        return [f"{one.key}={hydra_literal(point[one.key])}" for one in self.dimensions if one.applies(point)]


def list_spaces(config_dir: Path | None = None) -> dict[str, Path]:
    """Every space by name: trigan's own, and those below ``search`` in the user's folder of groups, which win."""
    folders = [locations.conf(), *([config_dir] if config_dir else [])]
    return {path.stem: path for folder in folders for path in sorted((folder / "search").rglob("*.yaml"))}


def find_space(name: str, config_dir: Path | None = None, extended_by: tuple[str, ...] = ()) -> SearchSpace:
    """The space of a name, or of a path that ends in ``.yaml``; a ConfigError if there is none, or it is not valid."""
    known = list_spaces(config_dir)
    path = Path(name) if name.endswith(".yaml") else known.get(name)
    if path is None or not path.is_file():
        raise ConfigError(f"{name}: no such search space; there are {', '.join(known)}{nearest_hint(name, known)}")
    return read_space(path, config_dir, extended_by)


def read_space(path: Path, config_dir: Path | None = None, extended_by: tuple[str, ...] = ()) -> SearchSpace:
    """The space of a file, with what it extends, checked by itself; `check_defaults` checks it against the config."""
    content, below = read_file(SearchSpaceSchema, path), (*extended_by, path.stem)
    dimensions = {key: one.dimension(key) for key, one in content.space.items()}
    if content.extends in below:
        raise ConfigError(f"{path}: extends={content.extends}: a space extends itself ({' <- '.join(below)})")
    if content.extends is not None:
        other = find_space(content.extends, config_dir, below)
        dimensions = {one.key: one for one in other.dimensions} | dimensions
    for one in dimensions.values():
        if (unknown := next((key for key, _ in one.unless if key not in dimensions), None)) is not None:
            raise ConfigError(f"{path}: space.{one.key}.unless.{unknown}: no setting of this space")
    return SearchSpace(path.stem, content.strategy, tuple(dimensions.values()))


def check_defaults(space: SearchSpace, run: RunConfig) -> None:
    """Refuse a space whose defaults are not those of the run: its first trial would not be the default."""
    values = values_of(space, run)
    for one in space.dimensions:
        if one.key not in values:
            raise ConfigError(f"{one.key}: no such setting beside the others of its space")
        if not _same(value := values[one.key], one.default):
            raise ConfigError(
                f"space {space.name}: {one.key}: its default is {hydra_literal(one.default)}, and with these settings "
                f"the config has {hydra_literal(value)}; copy the space to DIR/search/NAME.yaml, change it there, and "
                "give --config-dir DIR"
            )


def values_of(space: SearchSpace, run: RunConfig) -> dict[str, Any]:
    """The run's own value of each dimension that it has, by key."""
    values = {key: node_at(run.config, key) for key in dotted_keys(run.config)}
    values |= {one.key: run.choices[g] for one in space.dimensions if (g := one.key.replace(".", "/")) in run.choices}
    return {one.key: values[one.key] for one in space.dimensions if one.key in values}


def _same(one: Any, other: Any) -> bool:
    """Equal, and not a number compared with a truth value or a text."""
    kinds = [bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in (one, other)]
    return bool(one == other) and kinds[0] is kinds[1]

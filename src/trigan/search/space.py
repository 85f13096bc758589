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
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.studies.file_model import FileModel, ListOf, Settings, read_file


def _ascending(values: tuple[Any, Any]) -> tuple[Any, Any]:
    if values[0] >= values[1]:
        raise ValueError
    return values


#: A plain value of a setting.
Value = None | bool | int | float | str
_T = TypeVar("_T")
_Range = Annotated[tuple[_T, _T], Strict(False), AfterValidator(_ascending)]
_Number = int | Annotated[float, Field(allow_inf_nan=False)]
_Above0 = Annotated[_Number, Field(gt=0)]
_Int = int  # the schema below has a field of that name
_IntAbove0 = Annotated[int, Field(gt=0)]
_Values = Annotated[ListOf[Value], Field(min_length=2)]
_KINDS = ("uniform", "log_uniform", "int", "log_int", "choice")


class DistributionSchema(FileModel):
    """A hyperparameter in the file: its default and exactly one distribution."""

    default: Value = Field(description="a plain value")
    uniform: _Range[_Number] | None = Field(default=None, description="[low, high], ascending numbers")
    log_uniform: _Range[_Above0] | None = Field(default=None, description="[low, high], ascending numbers above 0")
    int: _Range[_Int] | None = Field(default=None, description="[low, high], ascending whole numbers")
    log_int: _Range[_IntAbove0] | None = Field(default=None, description="[low, high], ascending whole numbers above 0")
    choice: _Values | None = Field(default=None, description="a list of two plain values or more")

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
        return Dimension(key, self.default, kind, getattr(self, kind))


class SearchSpaceSchema(FileModel):
    """The content of a search space's file: settings of all trials, and the hyperparameters by their setting."""

    strategy: Settings
    space: dict[str, DistributionSchema] = Field(
        min_length=1, description="settings, each with its default and its distribution"
    )


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
        return [f"{one.key}={hydra_literal(point[one.key])}" for one in self.dimensions]


def list_spaces(config_dir: Path | None = None) -> dict[str, Path]:
    """Every space by name: trigan's own, and those of ``search/`` in the user's folder of groups, which win."""
    folders = [locations.conf(), *([config_dir] if config_dir else [])]
    return {path.stem: path for folder in folders for path in sorted((folder / "search").glob("*.yaml"))}


def find_space(name: str, config_dir: Path | None = None) -> SearchSpace:
    """The space of a name, or of a path that ends in ``.yaml``; a ConfigError if there is none, or it is not valid."""
    known = list_spaces(config_dir)
    path = Path(name) if name.endswith(".yaml") else known.get(name)
    if path is None or not path.is_file():
        raise ConfigError(f"{name}: no such search space; there are {', '.join(known)}{nearest_hint(name, known)}")
    return read_space(path)


def read_space(path: Path) -> SearchSpace:
    """The space of a file, checked by itself; `check_defaults` checks it against the config."""
    content = read_file(SearchSpaceSchema, path)
    return SearchSpace(path.stem, content.strategy, tuple(one.dimension(key) for key, one in content.space.items()))


def check_defaults(space: SearchSpace, run: RunConfig) -> None:
    """Refuse a space whose defaults are not those of the run: its first trial would not be the default."""
    known = dotted_keys(run.config)
    for one in space.dimensions:
        group = one.key.replace(".", "/")
        if group not in run.choices and one.key not in known:
            raise ConfigError(f"{one.key}: no such setting beside the others of its space")
        value = run.choices[group] if group in run.choices else node_at(run.config, one.key)
        if not _same(value, one.default):
            raise ConfigError(
                f"space {space.name}: {one.key}: its default is {hydra_literal(one.default)}, and with these settings "
                f"the config has {hydra_literal(value)}; copy the space to DIR/search/NAME.yaml, change it there, and "
                "give --config-dir DIR"
            )


def _same(one: Any, other: Any) -> bool:
    """Equal, and not a number compared with a truth value or a text."""
    kinds = [bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in (one, other)]
    return bool(one == other) and kinds[0] is kinds[1]

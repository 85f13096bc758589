"""The settings that belong to no group: typed, so that the strict pass checks them as it checks every ``_target_``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from trigan.errors import ConfigError


@dataclass(frozen=True)
class AtLeast:
    """Marks a number that may not be below ``low``: ``Annotated[int, AtLeast(0)]``."""

    low: int


NonNegativeInt = Annotated[int, AtLeast(0)]
PositiveInt = Annotated[int, AtLeast(1)]


@dataclass(frozen=True)
class Paths:
    """Where things are written; no part of a run's identity."""

    outputs: Path
    runs: Path
    artifacts: Path
    cache: Path


@dataclass(frozen=True)
class Runtime:
    """How the process runs; no part of a run's identity. ``threads``: of torch; ``allow``: the user's own modules."""

    threads: PositiveInt = 1
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allow:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ConfigError(f"runtime.allow={name}: expected names of modules, e.g. 'runtime.allow=[mypackage]'")


@dataclass(frozen=True)
class Debug:
    """A run that is cut short and kept apart; ``max_steps`` caps every stage."""

    max_steps: PositiveInt | None = None


@dataclass(frozen=True)
class TuningInfo:
    """How labels chose a run's settings: by which search, with how many trials, on how many validation labels."""

    search: str | None = None
    trials: NonNegativeInt = 0
    labels: NonNegativeInt = 0


@dataclass(frozen=True)
class Resources:
    """What a job computes on: so many processes of so many threads, each on a GPU of its own or on the CPU."""

    processes: int = 1
    gpu: bool = False
    threads: int = 1

    @property
    def cores(self) -> int:
        return self.processes * self.threads


#: The top-level keys of a config that are no group, with their types.
TOP_LEVEL: dict[str, object] = {
    "trial": NonNegativeInt,
    "seed": NonNegativeInt,
    "study": str | None,
    "row": str | None,
    "tuned": TuningInfo,
    "paths": Paths,
    "runtime": Runtime,
    "debug": Debug | None,
}

#: Top-level keys that only observe: what they say cannot change a result, so they are no part of a run's identity; but
#: ``tuned`` is, where a search is named in it.
UNHASHED_KEYS = ("paths", "runtime", "logger", "callbacks", "study", "row", "tuned")
#: Where a data choice stands in for another data set that a strategy trains on: the key takes choices as `data` does.
PRETRAINING_DATA_KEY = "strategy.pretrain.data"

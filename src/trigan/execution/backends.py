"""Where jobs run: processes of this machine, or a cluster by a Hydra launcher, chosen with ``hydra/launcher=NAME``."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from trigan.config.suggest import suffix
from trigan.errors import ConfigError

if TYPE_CHECKING:
    from trigan.execution.batch import Engine

LOCAL = "trigan"
_KEY, _SETTINGS = "hydra/launcher", "hydra.launcher"
#: Each engine: the package that it needs, and the extra that brings it.
ENGINES = {
    LOCAL: ("", ""),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
}


@dataclass(frozen=True)
class Choice:
    """An engine with its settings, as written: ``hydra.launcher.partition=short``."""

    name: str = LOCAL
    settings: tuple[str, ...] = ()

    @property
    def here(self) -> bool:
        """Whether its jobs run on this machine, which then must have the devices."""
        return self.name in (LOCAL, "submitit_local")


def split(words: Sequence[str]) -> tuple[Choice, list[str]]:
    """The engine that a command line names, and what is left of the line.

    Raises:
        ConfigError: no such engine, or it is not installed.
    """
    name, settings, rest = LOCAL, [], []
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key == _KEY:
            name = value
        elif key.startswith(f"{_SETTINGS}."):
            settings.append(word)
        else:
            rest.append(word)
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise ConfigError(f"{_KEY}={name}: not an engine of trigan's{suffix(name, ENGINES)}; engines: {known}")
    package, extra = ENGINES[name]
    if package and not _installed(package):
        raise ConfigError(f"{_KEY}={name}: not installed; pip install 'trigan[{extra}]'")
    if settings and name == LOCAL:
        raise ConfigError(f"{settings[0]}: the engine {LOCAL} is set by --workers and --timeout; others: {_KEY}=NAME")
    return Choice(name, tuple(settings)), rest


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def engine(choice: Choice, workers: int | None, minutes: int | None) -> "AbstractContextManager[Engine]":
    """The engine, ready to run jobs inside the context.

    Raises:
        ConfigError: a setting that the engine doesn't have, or that its jobs would not bear.
    """
    if choice.name == LOCAL:
        from trigan.execution.workers import Crew

        return Crew(workers, minutes)
    if workers is not None:
        mend = {"ray": "+hydra.launcher.ray.init.num_cpus=N", "submitit_slurm": "hydra.launcher.array_parallelism=N"}
        limit = f"; it has {mend[choice.name]}" if choice.name in mend else ""
        raise ConfigError(f"--workers: how many jobs run at a time is up to {choice.name}{limit}")
    from trigan.execution.cluster import Cluster

    return nullcontext(Cluster(choice, minutes))

"""Where jobs run: processes of this machine, or a cluster through a Hydra launcher, chosen with ``hydra/launcher=``."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

LOCAL = "trigan"
_KEY = "hydra/launcher"
#: Each engine: the package that it needs, and the extra that installs it.
ENGINES = {
    LOCAL: ("", ""),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
}


@dataclass(frozen=True)
class EngineChoice:
    """An engine with its settings, as written: ``hydra.launcher.partition=short``."""

    name: str = LOCAL
    settings: tuple[str, ...] = ()

    @property
    def local(self) -> bool:
        """Whether its jobs run on this machine, which then must have the devices."""
        return self.name in (LOCAL, "submitit_local")


def split(words: Sequence[str]) -> tuple[EngineChoice, list[str]]:
    """The engine that a command line names, and the other words."""
    name, settings, rest = LOCAL, list[str](), list[str]()
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key == _KEY:
            name = value
        else:
            (settings if key.startswith("hydra.launcher.") else rest).append(word)
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise ConfigError(f"{_KEY}={name}: not an engine of trigan's{nearest_hint(name, ENGINES)}; engines: {known}")
    package, extra = ENGINES[name]
    if package and find_spec(package) is None:
        raise ConfigError(f"{_KEY}={name}: not installed; pip install 'trigan[{extra}]'")
    if settings and name == LOCAL:
        raise ConfigError(f"{settings[0]}: the engine {LOCAL} is set by --workers and --timeout; others: {_KEY}=NAME")
    return EngineChoice(name, tuple(settings)), rest

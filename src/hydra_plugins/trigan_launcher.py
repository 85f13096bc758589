"""``hydra/launcher=trigan`` for any Hydra application: each job of a sweep is a process group of its own.

Hydra finds this file through the namespace package and imports it at every start, so it imports nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class TriganLauncherConf:
    """``workers``: jobs at a time (null: one per core); ``minutes``: time limit of a job (null: no limit)."""

    _target_: str = "hydra_plugins.trigan_launcher.TriganLauncher"
    workers: int | None = None
    minutes: int | None = None


class TriganLauncher(Launcher):
    """Runs each job of a sweep as a new process, several at a time; one that fails ends no other."""

    def __init__(self, workers: int | None = None, minutes: int | None = None) -> None:
        self.workers, self.minutes = workers, minutes
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what `launch` needs."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return what Hydra's sweepers expect."""
        from trigan.execution.hydra_jobs import launch

        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        return launch(loader, self.config, job_overrides, initial_job_idx, self.workers, self.minutes)


ConfigStore.instance().store(group="hydra/launcher", name="trigan", node=TriganLauncherConf, provider="trigan")

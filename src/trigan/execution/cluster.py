"""Jobs on a cluster, through another package's Hydra launcher (submitit's for Slurm, Ray's).

The launcher gets only the number of a job: Hydra composes no run on the node, since each was composed, checked and
listed here. On the node `trigan.execution.cluster_node` starts the same ``trigan run`` as a local pool, one task for
each job: with several devices ``trigan run`` itself starts a process for each.
"""

import logging
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trigan.config import override_rules
from trigan.config.nodes import dotted_keys
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError, TriganError
from trigan.execution.cluster_node import ClusterTask
from trigan.execution.engines import EngineChoice
from trigan.execution.job import TIMED_OUT, Job, JobResult, log_name
from trigan.execution.supervisor import SAFE_PATH, environment
from trigan.records import failure

_log = logging.getLogger("trigan")
_KEY = "hydra.launcher"


class ClusterEngine:
    """An engine that submits jobs with a time limit, waits for all of them, and reads their outcomes from the disk."""

    def __init__(self, choice: EngineChoice, minutes: int | None) -> None:
        self._choice, self._seconds = choice, minutes * 60.0 if minutes else None
        self._loader = ConfigLoaderImpl(config_search_path=create_config_search_path(None))
        known = [f"{_KEY}.{key}" for key in dotted_keys(self._launcher_settings([]))]
        for word in choice.settings:
            key = word.lstrip("+").partition("=")[0]
            if key not in known and not word.startswith("+"):
                raise ConfigError(f"{key}: no such setting of {choice.name}{nearest_hint(key, known)}")
        self._settings = self._launcher_settings(choice.settings)

    def _launcher_settings(self, words: Sequence[str]) -> dict[str, Any]:
        settings: Any = OmegaConf.to_container(self._compose(words).hydra.launcher)
        return dict(settings)

    def _compose(self, words: Sequence[str]) -> DictConfig:
        """Hydra's own config and no other: the launcher with its settings."""
        quiet = ("hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null")
        words = [f"hydra/launcher={self._choice.name}", *quiet, "hydra.job.name=trigan", "hydra.sweep.subdir=.", *words]
        try:
            return self._loader.load_configuration(None, words, run_mode=RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"{self._choice.name}: {override_rules.first_line(error)}") from error

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        """Run all jobs, as `trigan.execution.pool.LocalEngine.run` does."""
        size = 1000  # Slurm's MaxArraySize is 1001 by default
        return [one for i in range(0, len(jobs), size) for one in self._submit(jobs[i : i + size], logs)]

    def _submit(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        name, started = self._choice.name, time.monotonic()
        folder = logs / ".engine" / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        config = self._compose([*self._choice.settings, *self._resources(jobs), f"hydra.sweep.dir='{folder}'"])
        task = ClusterTask.of(jobs, logs, folder / "jobs.json", self._seconds)
        context = HydraContext(config_loader=self._loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        _log.info("%s: %d jobs; the engine's own files: %s", name, len(jobs), folder)
        try:
            with environment(SAFE_PATH):
                returned = launcher.launch([[f"+job={n}"] for n in range(len(jobs))], 0)
            codes = [_exit_code(one) for one in returned]
        except KeyboardInterrupt:
            _log.warning("%s: submitted jobs keep running there until you cancel them there", name)
            raise
        except Exception as error:  # launchers raise anything: for a job without output, or a queue that takes no job
            message = f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if not any(job.finished or (logs / log_name(job.name)).exists() for job in jobs):
                raise TriganError(message) from error
            _log.warning("%s", message)
            codes = [None] * len(jobs)
        seconds = time.monotonic() - started
        return [_result(job, code, seconds, logs) for job, code in zip(jobs, codes, strict=True)]

    def _resources(self, jobs: Sequence[Job]) -> list[str]:
        """What the jobs need and the user has not set: one task each, and a device for each of their processes."""
        processes = max(job.resources.processes for job in jobs)
        cores = max(job.resources.cores for job in jobs)
        gpus = processes if any(job.resources.gpu for job in jobs) else 0
        if self._choice.name == "ray":
            return _ray_resources(self._settings["ray"]["remote"], cores, gpus)
        for key, right, why in (
            ("nodes", 1, "a run is on one node"),
            ("tasks_per_node", 1, "trigan run starts one process for each device itself"),
            ("gpus_per_node", gpus or None, f"trainer.devices is {processes}"),
        ):
            if (given := self._settings[key]) not in (right, None):
                raise ConfigError(f"{_KEY}.{key}={given}: {why}; leave it out, or give {right}")
        words = [f"{_KEY}.gpus_per_node={gpus}"] if gpus else []
        words += [f"{_KEY}.cpus_per_task={cores}"] if self._settings["cpus_per_task"] is None else []
        requeues = f"{_KEY}.max_num_timeout="
        if "max_num_timeout" in self._settings and not any(word.startswith(requeues) for word in self._choice.settings):
            words.append(f"{requeues}100")  # so often may a job run into its time limit; by submitit's default never
        return words


def _ray_resources(remote: dict[str, Any], cores: int, gpus: int) -> list[str]:
    words = []
    for key, needed in (("num_cpus", cores), ("num_gpus", gpus)):
        setting = f"{_KEY}.ray.remote.{key}="
        if remote.get(key, needed) < needed:
            raise ConfigError(f"{setting}{remote[key]}: a run takes {needed}; leave it out, or give {needed}")
        words += [f"+{setting}{needed}"] if needed and key not in remote else []
    return words


def _exit_code(returned: Any) -> int | None:
    """The exit code that a task returned; None if the task itself failed."""
    try:
        return int(returned.return_value)
    except Exception as error:  # a full disk, no such interpreter on the node
        _log.warning("a task failed: %s", " ".join(str(error).split())[:300])
        return None


def _result(job: Job, code: int | None, seconds: float, logs: Path) -> JobResult:
    """The result of a job, without a code from what it left on the disk; a job that left nothing is missing."""
    if code is None:
        mark = failure.read(job.directory) if job.directory else None
        lost = TIMED_OUT if mark and mark.reason == "timed out" else 1 if mark else -15
        code = 0 if job.finished else lost
    return JobResult(job, code, seconds, logs / log_name(job.name), no_record=not job.finished)

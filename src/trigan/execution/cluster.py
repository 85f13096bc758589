"""Jobs on a cluster, through a Hydra launcher that others wrote (submitit's for Slurm, Ray's).

The launcher gets nothing of a job but its number: Hydra composes no run on the node, since each was composed, checked
and listed here. On the node `trigan.execution.cluster_node` starts the same ``trigan run`` as a local pool, one task
for each job: with several devices ``trigan run`` itself starts a process for each, so a task for each would start too
many.
"""

import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trigan.config import override_rules
from trigan.errors import ConfigError, TriganError
from trigan.execution.cluster_node import ClusterTask
from trigan.execution.engines import EngineChoice
from trigan.execution.job import TIMED_OUT, Job, JobResult, log_name
from trigan.records import failure

_KEY = "hydra.launcher"
#: Under a study's logs: the engine's own files, a folder for each submission.
ENGINE_FOLDER = ".engine"
#: Jobs of one submission: Slurm's arrays end at MaxArraySize, which is 1001 unless the site says otherwise.
MAX_JOBS_PER_SUBMISSION = 1000
#: How often Slurm may requeue a job that ran into its time limit; submitit's own default is never.
MAX_REQUEUES = 100


class ClusterEngine:
    """An engine: submits jobs, waits for all of them, and reads from the disk what became of each.

    Args:
        minutes: that a job may take.
    """

    def __init__(self, choice: EngineChoice, minutes: int | None) -> None:
        self._choice, self._seconds = choice, minutes * 60.0 if minutes else None
        self._loader = ConfigLoaderImpl(config_search_path=create_config_search_path(None))
        self._check_settings()

    def _check_settings(self) -> None:
        """Refuse settings that the launcher doesn't have, before any job is composed."""
        launcher = OmegaConf.to_container(self._compose([]).hydra.launcher)
        known = [f"{_KEY}.{key}" for key in override_rules.dotted_keys(launcher)]
        for word in self._choice.settings:
            key = word.lstrip("+").partition("=")[0]
            if key not in known and not word.startswith("+"):
                raise ConfigError(
                    f"{key}: no such setting of {self._choice.name}{override_rules.nearest_hint(key, known)}"
                )
        self._compose(self._choice.settings)

    def _compose(self, more: Sequence[str]) -> DictConfig:
        """Hydra's own config and no other: the launcher with its settings."""
        quiet = ("hydra/job_logging=disabled", "hydra/hydra_logging=disabled", "hydra.output_subdir=null")
        words = [f"hydra/launcher={self._choice.name}", *quiet, "hydra.job.name=trigan", "hydra.sweep.subdir=.", *more]
        try:
            return self._loader.load_configuration(None, words, run_mode=RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"{self._choice.name}: {override_rules.first_line(error)}") from error

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        """Run all jobs, as `trigan.execution.pool.Pool.run` does.

        Raises:
            ConfigError: jobs need devices that the settings don't ask for.
            TriganError: the engine took no job.
        """
        if not jobs:
            return []
        ended: list[JobResult] = []
        for start in range(0, len(jobs), MAX_JOBS_PER_SUBMISSION):
            ended += self._submit(jobs[start : start + MAX_JOBS_PER_SUBMISSION], logs)
        return ended

    def _submit(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        folder = logs / ENGINE_FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        config = self._compose([*self._choice.settings, *self._resources(jobs), f"hydra.sweep.dir='{folder}'"])
        task = ClusterTask.of(jobs, logs, folder / "jobs.json", self._seconds)
        context = HydraContext(config_loader=self._loader, callbacks=_callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
        print(f"{self._choice.name}: {len(jobs)} jobs; the engine's own files: {folder}", file=sys.stderr)
        started = time.monotonic()
        try:
            returned = [_code(one) for one in launcher.launch([[f"+job={n}"] for n in range(len(jobs))], 0)]
        except KeyboardInterrupt:
            print(f"{self._choice.name}: what was submitted goes on there, unless you end it there", file=sys.stderr)
            raise
        except Exception as error:  # whatever a launcher raises: a job that left nothing, or a queue that takes none
            said = f"{self._choice.name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if not any(job.finished or (logs / log_name(job.name)).exists() for job in jobs):
                raise TriganError(said) from error
            print(said, file=sys.stderr)
            returned = [None] * len(jobs)
        seconds = time.monotonic() - started
        return [_ended(job, code, seconds, logs) for job, code in zip(jobs, returned, strict=True)]

    def _resources(self, jobs: Sequence[Job]) -> list[str]:
        """What the jobs need and the user has not said; one task each, and as many devices as their processes.

        Raises:
            ConfigError: the user has said something else.
        """
        most = max(job.resources.processes for job in jobs)
        cores = max(job.resources.cores for job in jobs)
        gpus = most if any(job.resources.gpu for job in jobs) else 0
        given = OmegaConf.to_container(self._compose(self._choice.settings).hydra.launcher)
        assert isinstance(given, dict)
        if self._choice.name == "ray":
            return _ray_resources(given["ray"]["remote"], cores, gpus)
        for key, right, why in (
            ("nodes", 1, "a run is on one node"),
            ("tasks_per_node", 1, "trigan run starts one process for each device itself"),
            ("gpus_per_node", gpus or None, f"trainer.devices is {most}"),
        ):
            if given[key] not in (right, None):
                raise ConfigError(f"{_KEY}.{key}={given[key]}: {why}; leave it out, or give {right}")
        words = [f"{_KEY}.gpus_per_node={gpus}"] if gpus else []
        words += [f"{_KEY}.cpus_per_task={cores}"] if given["cpus_per_task"] is None else []
        said = [word.partition("=")[0] for word in self._choice.settings]
        if "max_num_timeout" in given and f"{_KEY}.max_num_timeout" not in said:
            words.append(f"{_KEY}.max_num_timeout={MAX_REQUEUES}")
        return words


def _ray_resources(remote: dict[str, Any], cores: int, gpus: int) -> list[str]:
    for key, right in (("num_cpus", cores), ("num_gpus", gpus)):
        if remote.get(key, right) < right:
            raise ConfigError(
                f"{_KEY}.ray.remote.{key}={remote[key]}: a run takes {right}; leave it out, or give {right}"
            )
    wanted = {"num_cpus": cores, **({"num_gpus": gpus} if gpus else {})}
    return [f"+{_KEY}.ray.remote.{key}={value}" for key, value in wanted.items() if key not in remote]


def _callbacks(config: DictConfig) -> Any:
    from hydra._internal.callbacks import Callbacks

    return Callbacks(config)


def _code(returned: Any) -> int | None:
    """The exit code that a task gave; None where it could not even begin."""
    try:
        return int(returned.return_value)
    except Exception as error:  # the task's own: a full disk, no such interpreter on the node
        print(f"a task failed: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return None


def _ended(job: Job, code: int | None, seconds: float, logs: Path) -> JobResult:
    """How a job ended, by its code or else by what it left; one that left nothing was lost, and is missing."""
    log = logs / log_name(job.name)
    if code is None:
        mark = failure.read(job.directory) if job.directory else None
        lost = TIMED_OUT if mark and mark.reason == "timed out" else 1 if mark else -15
        code = 0 if job.finished else lost
    return JobResult(job, code, seconds, log, no_record=not job.finished)

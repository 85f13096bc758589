"""The jobs of any Hydra application through trigan's pool (``hydra/launcher=trigan``)."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, open_dict

from trigan.execution.job import Job
from trigan.execution.launchers import ExecLauncher
from trigan.execution.pool import LocalEngine

#: Settings of Hydra that belong to the sweep, not to its jobs.
_OF_THE_SWEEP = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep", "hydra.mode")


class JobFailed(Exception):
    """A job of a sweep failed."""


def launch(
    loader: ConfigLoader,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    workers: int | None,
    minutes: int | None,
) -> list[JobReturn]:
    """Run each job as a new interpreter that composes its own config; return what Hydra's sweepers expect.

    The jobs are numbered from ``first``; ``workers`` run at a time (None: one per core), each ``minutes`` at most.
    """
    own = [word for word in config.hydra.overrides.hydra if not word.lstrip("+~").startswith(_OF_THE_SWEEP)]
    sweep = Path(str(config.hydra.sweep.dir)).absolute()
    jobs = []
    for number, overrides in enumerate(job_overrides, first):
        composed = loader.load_sweep_config(config, list(overrides))
        with open_dict(composed):
            composed.hydra.job.num, composed.hydra.job.id = number, str(number)
        folder = sweep / str(composed.hydra.sweep.subdir)
        jobs.append(Job(str(number), (*own, *overrides, f"hydra.run.dir='{folder}'")))
    results = LocalEngine(workers, minutes, ExecLauncher(_program())).run(jobs, sweep / "logs")
    returns = []
    for result, overrides in zip(results, job_overrides, strict=True):
        status = JobStatus.COMPLETED if result.ok else JobStatus.FAILED
        returns.append(JobReturn(overrides=list(overrides), status=status))
        if not result.ok:  # reading the value of a failed job raises this
            returns[-1].return_value = JobFailed(f"{result.job.name}: {result.failure}; log: {result.log}")
    return returns


def _program() -> list[str]:
    """The command that started this process, without its overrides and without ``--multirun``."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    name = str(module.name).removesuffix(".__main__") if module else ""
    given = get_args_parser().parse_args()
    options = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    words = [word for option, value in options.items() if value for word in (option, str(value))]
    return [sys.executable, *(["-m", name] if name else [sys.argv[0]]), *words]

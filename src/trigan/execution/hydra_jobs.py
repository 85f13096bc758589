"""The jobs of somebody else's Hydra application through trigan's pool (``hydra/launcher=trigan``)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, open_dict

from trigan.execution.job import Job, JobResult
from trigan.execution.job_progress import show_progress
from trigan.execution.launchers import ExecLauncher
from trigan.execution.pool import Pool, cores

#: Settings of Hydra that belong to the sweep, not to its jobs.
_OF_THE_SWEEP = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep", "hydra.mode")


class JobFailed(Exception):
    """A job of a sweep did not end well."""


def launch(
    loader: ConfigLoader,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    workers: int | None,
    minutes: int | None,
) -> list[JobReturn]:
    """Run each job as a new interpreter that composes its own config; gives what Hydra's sweepers expect.

    Args:
        first: number of the first job.
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
    at_once = min(workers or cores(), cores(), len(jobs))
    shown = show_progress(len(jobs), at_once)
    try:
        pool = Pool(ExecLauncher(program()), at_once, sweep / "logs", minutes * 60.0 if minutes else None)
        ended = pool.run(jobs, shown)
    finally:
        shown.close()
    return [_returned(one, overrides) for one, overrides in zip(ended, job_overrides, strict=True)]


def program() -> list[str]:
    """The command that started this process, without its overrides and without ``--multirun``."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    name = str(module.name).removesuffix(".__main__") if module else ""
    given = get_args_parser().parse_args()
    options = {"--config-path": given.config_path, "--config-name": given.config_name, "--config-dir": given.config_dir}
    said = [word for option, value in options.items() if value for word in (option, str(value))]
    return [sys.executable, *(["-m", name] if name else [sys.argv[0]]), *said]


def _returned(ended: JobResult, overrides: Sequence[str]) -> JobReturn:
    returned: Any = JobReturn(overrides=list(overrides))
    returned.status = JobStatus.COMPLETED if ended.ok else JobStatus.FAILED
    # whoever asks for the value of a failed job raises this
    returned.return_value = None if ended.ok else JobFailed(f"{ended.job.name}: {ended.reason}; log: {ended.log}")
    return returned

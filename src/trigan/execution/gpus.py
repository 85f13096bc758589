"""GPUs for jobs that run side by side: each job gets as many as it needs, those that the fewest other jobs use."""

import os
from collections.abc import Mapping, Sequence

from trigan.errors import ConfigError
from trigan.execution.job import Job

VARIABLE = "CUDA_VISIBLE_DEVICES"


class GpuSlots:
    """The GPUs of this machine, named as in ``CUDA_VISIBLE_DEVICES``, and the jobs on them."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._users: dict[str, set[str]] = {device: set() for device in devices}

    def workers(self, jobs: Sequence[Job]) -> int | None:
        """Number of jobs at a time without sharing a GPU; None where no job needs one.

        Raises:
            ConfigError: a job needs more GPUs than there are.
        """
        needed = {job.name: job.resources.processes for job in jobs if job.resources.gpu}
        if not needed or not self._users:
            return None
        for name, count in needed.items():
            if count > len(self._users):
                raise ConfigError(f"{name}: trainer.devices={count}, and {len(self._users)} GPUs are visible")
        return len(self._users) // max(needed.values())

    def allocate(self, job: Job) -> Mapping[str, str]:
        """The environment variable that gives a job its GPUs: those with the fewest users, the first of equals."""
        if not job.resources.gpu or not self._users:
            return {}
        by_users = sorted(self._users, key=lambda device: len(self._users[device]))
        chosen = sorted(by_users[: job.resources.processes], key=list(self._users).index)
        for device in chosen:
            self._users[device].add(job.name)
        return {VARIABLE: ",".join(chosen)}

    def release(self, job: Job) -> None:
        """Take back the GPUs of a job that has ended."""
        for users in self._users.values():
            users.discard(job.name)


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, from the environment, or else from torch."""
    names = os.environ.get(VARIABLE)
    if names is not None:
        return tuple(name.strip() for name in names.split(",") if name.strip() not in ("", "-1"))
    import torch

    return tuple(map(str, range(torch.cuda.device_count())))

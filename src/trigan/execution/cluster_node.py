"""What a cluster's engine calls on a node: one ``trigan run`` as a process group, with its log and exit code.

Engines pickle what they send, so this file imports nothing heavy, and a job is sent as its number in a file of jobs.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigan.atomic import make_folder, wrap_os_errors, write_bytes
from trigan.execution.job import BATCH_VARIABLE, Job, JobResult, log_name
from trigan.execution.supervisor import GRACE, POLL, SINGLE_THREADED, TRIGAN, Supervisor

#: Precedes a job's overrides.
COMMAND = (*TRIGAN, "run")
#: Seconds that a task stays after its job was ended from outside: the queue that sent the signal is about to end the
#: task as well, and must find it unfinished, or it would not requeue it.
REQUEUE_WAIT = 60.0


@dataclass(frozen=True)
class ClusterTask:
    """The function that an engine calls: runs one of the jobs of a file and returns its exit code.

    A queue ends a task by an exception in its main thread (submitit's after SIGUSR2, Ray's after SIGTERM) or by killing
    it. The job never outlives the task; the next attempt continues in the same run directory.

    ``jobs`` is the file, on a disk that all nodes share, ``folder`` the working directory of the jobs, and ``seconds``
    their time limit.
    """

    jobs: Path
    logs: Path
    folder: Path
    seconds: float | None = None

    @classmethod
    def of(cls, jobs: Sequence[Job], logs: Path, file: Path, seconds: float | None) -> "ClusterTask":
        """Write the file of jobs and return the task."""
        write_bytes(file, json.dumps([(job.name, job.overrides, str(job.directory)) for job in jobs]).encode())
        return cls(file, logs, Path.cwd(), seconds)

    def __call__(self, config: Any) -> int:
        """Run job number ``config.job`` and return its exit code."""
        name, overrides, directory = json.loads(self.jobs.read_bytes())[int(config.job)]
        with wrap_os_errors(self.logs):
            make_folder(self.logs)
        result = self._run(Job(name, tuple(overrides), Path(directory)), self.logs / log_name(name))
        result.mark()
        if result.outcome == "stopped" and "SLURM_JOB_ID" in os.environ:
            time.sleep(REQUEUE_WAIT)
        return result.code

    def _run(self, job: Job, log: Path) -> JobResult:
        started, process = time.monotonic(), Supervisor()
        # with Slurm's variables libraries would take the job for one of several tasks
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        environment |= {**SINGLE_THREADED, BATCH_VARIABLE: "1"}
        try:
            process.start_command(job.name, [*COMMAND, *job.overrides], environment, log, self.folder)
            while not (codes := process.ended(self.seconds, GRACE)):
                time.sleep(POLL)
        finally:
            process.end_all(GRACE)
        return JobResult(job, codes[job.name], time.monotonic() - started, log, no_record=not job.finished)

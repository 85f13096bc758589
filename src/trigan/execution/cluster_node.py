"""What a cluster's engine calls on a node: one ``trigan run`` as a process group of its own, with log and exit code.

Engines pickle what they send, so this file imports nothing heavy, and a job is sent as its number in a file of jobs.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigan.atomic import wrap_os_errors, write_bytes
from trigan.execution.forkserver import die_with_parent
from trigan.execution.job import TIMED_OUT, Job, JobResult, log_name
from trigan.execution.launchers import SINGLE_THREADED

#: What a job's overrides are put behind.
COMMAND = (sys.executable, "-m", "trigan", "run")
_POLL = 0.1
#: Seconds between SIGTERM and SIGKILL, and seconds that a task stays after its job was ended from outside: the queue
#: that sent the signal is about to end the task as well, and must find it unfinished, or it would not requeue it.
GRACE, REQUEUE_WAIT = 15.0, 60.0


@dataclass(frozen=True)
class ClusterTask:
    """The function that an engine calls: runs one of the jobs of a file and gives its exit code.

    A queue ends a task by an exception in its main thread (submitit's after SIGUSR2, Ray's after SIGTERM) or by killing
    it. The job never outlives it; the next attempt goes on in the same run directory.

    Attributes:
        jobs: the file, on a disk that all nodes share.
        folder: where the jobs were asked for; relative paths start there.
        seconds: that a job may take.
    """

    jobs: Path
    folder: Path
    seconds: float | None = None

    @classmethod
    def of(cls, jobs: Sequence[Job], logs: Path, file: Path, seconds: float | None) -> "ClusterTask":
        """Write the file, and give the task."""
        listed = [
            {"name": j.name, "arguments": j.overrides, "directory": str(j.directory), "log": str(logs)} for j in jobs
        ]
        write_bytes(file, json.dumps(listed).encode())
        return cls(file, Path.cwd(), seconds)

    def __call__(self, config: Any) -> int:
        told = json.loads(self.jobs.read_bytes())[int(config.job)]
        job = Job(told["name"], tuple(told["arguments"]), Path(told["directory"]))
        logs = Path(told["log"])
        with wrap_os_errors(logs):
            logs.mkdir(parents=True, exist_ok=True)
        ended = self._run(job, logs / log_name(job.name))
        ended.mark()
        if ended.outcome == "stopped" and "SLURM_JOB_ID" in os.environ:
            time.sleep(REQUEUE_WAIT)
        return ended.code

    def _run(self, job: Job, log: Path) -> JobResult:
        started = time.monotonic()
        # Slurm's variables would have libraries take this process for one of several tasks
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*COMMAND, *job.overrides],
                cwd=self.folder,
                env={**environment, **SINGLE_THREADED},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_prepare,
            )
        try:
            code = self._wait(process, started)
        finally:
            end_group(process, GRACE)
        return JobResult(job, code, time.monotonic() - started, log, no_record=not job.finished)

    def _wait(self, process: subprocess.Popen[bytes], started: float) -> int:
        while (code := process.poll()) is None:
            if self.seconds is not None and time.monotonic() - started > self.seconds:
                return TIMED_OUT
            time.sleep(_POLL)
        return code


def end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to a process and its children, a wait, SIGKILL; nothing where it has ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)


def _prepare() -> None:
    """In the job, before it is one: it ends with its task, and signals of the queue's own are the task's to act on."""
    die_with_parent()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)

"""Two ways to start a job as an OS process of its own: a new interpreter, or a fork of one that has torch imported.

Either way a job has its own session (so that a signal reaches it and its children, and nobody else) and its own log.
Importing torch, Lightning and the rest costs seconds per process; the fork pays it once.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from trigan.errors import TriganError
from trigan.execution.job import Job

#: Entry point of a job, and what a fork server imports for it.
ENTRY = "trigan.commands.main:main"
PRELOAD = (
    "trigan.*",
    *("hydra", "wandb", "pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.PngImagePlugin"),
    *("sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection", "sklearn.neighbors", "sklearn.svm"),
)
#: One thread per process: with several at work, two torch threads each are 2 to 150 times slower than one.
SINGLE_THREADED = MappingProxyType({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
#: What keeps a process that has imported everything fit to be forked.
_FORKABLE = MappingProxyType(
    {
        # a CUDA check through the driver would leave a context in the server that its forks cannot use
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        # pyarrow's allocator starts a thread at import
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }
)


class Launcher(Protocol):
    """Starts jobs, says which have ended, passes signals on."""

    def start(self, job: Job, log: Path, variables: Mapping[str, str] = NO_VARIABLES) -> None:
        """Start a job with more environment variables; its output goes to ``log``."""

    def ended(self) -> dict[str, int]:
        """Exit codes (negative: a signal) of jobs that ended since the last call, by name."""

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a job and its children; a job that has ended is left alone."""

    def close(self) -> None:
        """Free what the launcher holds; no job may be running."""


class ExecLauncher:
    """Each job is a new interpreter.

    Args:
        command: what a job's overrides are put behind.
    """

    def __init__(self, command: Sequence[str] = (sys.executable, "-m", "trigan", "run")) -> None:
        self._command = tuple(command)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job, log: Path, variables: Mapping[str, str] = NO_VARIABLES) -> None:
        environment = {**os.environ, **SINGLE_THREADED, **variables}
        with log.open("ab") as output:
            self._running[job.name] = subprocess.Popen(
                [*self._command, *job.overrides],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def ended(self) -> dict[str, int]:
        done = {name: code for name, process in self._running.items() if (code := process.poll()) is not None}
        for name in done:
            del self._running[name]
        return done

    def signal(self, name: str, number: int) -> None:
        if name in self._running:
            with suppress(ProcessLookupError):
                os.killpg(self._running[name].pid, number)

    def close(self) -> None:
        self._running.clear()


class ForkLauncher:
    """Each job is a fork of a server process that has done the imports; see :mod:`trigan.execution.forkserver`.

    Args:
        words: what a job's overrides are put behind, as arguments of ``entry``.
        entry: ``module:function``, called with the arguments; gives the exit code.
        preload: modules that the server imports once.
    """

    def __init__(self, words: Sequence[str] = ("run",), entry: str = ENTRY, preload: Sequence[str] = PRELOAD) -> None:
        self._words = tuple(words)
        self._buffer = b""
        self._running: set[str] = set()
        environment = {**os.environ, **SINGLE_THREADED, **_FORKABLE}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "trigan.execution.forkserver", entry, *preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )

    def threads(self) -> int:
        """Threads of the server once its imports are done; with more than one it cannot fork soundly.

        Raises:
            TriganError: the imports failed; what they said is on standard error.
        """
        assert self._server.stdout is not None
        while b"\n" not in self._buffer:
            chunk = os.read(self._server.stdout.fileno(), 65536)
            if not chunk:
                raise TriganError("the server process of the pool could not start; its error is above")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return int(json.loads(line)["threads"])

    def start(self, job: Job, log: Path, variables: Mapping[str, str] = NO_VARIABLES) -> None:
        self._running.add(job.name)
        arguments = [*self._words, *job.overrides]
        self._send({"start": job.name, "arguments": arguments, "log": str(log), "variables": dict(variables)})

    def ended(self) -> dict[str, int]:
        assert self._server.stdout is not None
        while select.select([self._server.stdout], [], [], 0)[0]:
            chunk = os.read(self._server.stdout.fileno(), 65536)
            if not chunk:
                if self._running:
                    raise TriganError(
                        "the server process of the pool ended, and its jobs with it; the same command goes on"
                    )
                break
            self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        done: dict[str, int] = {}
        for line in lines:
            message = json.loads(line)
            if "ended" in message:  # the first line tells the threads
                done[message["ended"]] = message["code"]
        self._running -= done.keys()
        return done

    def signal(self, name: str, number: int) -> None:
        if name in self._running:
            self._send({"signal": name, "number": number})

    def close(self) -> None:
        assert self._server.stdin is not None
        if not self._running:  # it may still be importing, and has nothing to lose
            self._server.kill()
        with suppress(BrokenPipeError):
            self._server.stdin.close()  # the server ends at the end of its input, and its jobs with it
        try:
            self._server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()

    def _send(self, message: dict[str, object]) -> None:
        assert self._server.stdin is not None
        with suppress(BrokenPipeError):  # the end of the server shows in `ended`
            self._server.stdin.write(json.dumps(message).encode() + b"\n")
            self._server.stdin.flush()

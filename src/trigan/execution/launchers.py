"""Two ways to start a job as a process: a new interpreter, or a fork of a server that has torch and the rest imported.

The imports take seconds; the server does them once.
"""

import multiprocessing
import multiprocessing.forkserver as server
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from trigan.errors import TriganError
from trigan.execution.forkserver import PRELOAD_VARIABLE, run_job
from trigan.execution.job import Job
from trigan.execution.supervisor import GRACE, POLL, SAFE_PATH, SINGLE_THREADED, TRIGAN, Supervisor, environment

#: Entry point of a job, and what the fork server imports for it.
ENTRY = "trigan.commands.main:main"
PRELOAD = (
    "trigan.*",
    *("hydra", "wandb", "pandas", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.PngImagePlugin"),
    *("sklearn.datasets", "sklearn.linear_model", "sklearn.model_selection", "sklearn.neighbors", "sklearn.svm"),
)
#: Exit code that `multiprocessing` reports for children of a server that has died.
_SERVER_DIED = 255


class ExecLauncher(Supervisor):
    """Each job is a new interpreter, started as ``command`` with the job's overrides."""

    def __init__(self, command: Sequence[str] = (*TRIGAN, "run")) -> None:
        super().__init__()
        self._command = tuple(command)

    def start(self, job: Job, log: Path, variables: Mapping[str, str] | None = None) -> None:
        """Start a job with additional environment variables; its output is appended to ``log``."""
        variables = {**os.environ, **SINGLE_THREADED, **(variables or {})}
        self.start_command(job.name, [*self._command, *job.overrides], variables, log)


class ForkLauncher(Supervisor):
    """Each job is a fork of `multiprocessing`'s fork server, which imports ``preload`` at once, in the background.

    A job calls ``entry``, ``module:function``, with ``words`` and its overrides, and exits with what that returns.

    Raises:
        OSError: no server can be started, or this process has one already.
    """

    def __init__(self, words: Sequence[str] = ("run",), entry: str = ENTRY, preload: Sequence[str] = PRELOAD) -> None:
        super().__init__()
        self._words, self._entry = tuple(words), entry
        if _server_pid():
            raise FileExistsError("this process has a fork server already")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([run_job.__module__])
        with environment({PRELOAD_VARIABLE: " ".join(preload), **SAFE_PATH}):
            server.ensure_running()
        self._server = _server_pid()

    def threads(self) -> int:
        """Threads of the server once its imports are done; with more than one it cannot fork safely."""
        try:
            probe = self._start(os.getpid)  # returns when the server answers, after its imports
            probe.kill()
            probe.join()
            return len(os.listdir(f"/proc/{self._server}/task"))
        except (EOFError, OSError) as error:
            raise TriganError("the server process of the pool could not start; its error is above") from error

    def start(self, job: Job, log: Path, variables: Mapping[str, str] | None = None) -> None:
        """Start a job with additional environment variables; its output is appended to ``log``."""
        self._check_server()
        arguments = [*self._words, *job.overrides]
        given = str(log), dict(variables or {}), os.getcwd(), job.composed
        process = self._start(run_job, self._entry, arguments, *given)
        self.add(job.name, process.pid, lambda: process.exitcode)

    def ended(self, timeout: float | None = None, grace: float = GRACE) -> dict[str, int]:
        """As `Supervisor.ended`, but if the server has died, its jobs with it, raises a `TriganError`."""
        codes = super().ended(timeout, grace)
        if _SERVER_DIED in codes.values():
            time.sleep(POLL)  # a dying server closes its pipes shortly before the kernel reports its death
            self._check_server()
        return codes

    def close(self) -> None:
        """End the jobs and the server, which may still be importing."""
        self.end_all()
        if _server_pid() == self._server:
            with suppress(ProcessLookupError):
                os.kill(self._server, signal.SIGKILL)
            server._forkserver._stop()  # type: ignore[attr-defined]

    def _start(self, function: Callable[..., object], *arguments: object) -> Any:
        """Start a process that, unlike `multiprocessing`'s own, does not import the caller's script."""
        process = self._context.Process(target=function, args=arguments)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
        return process

    def _check_server(self) -> None:
        """Raise if the server has died; `multiprocessing` would silently start another, without the imports."""
        with suppress(ChildProcessError):
            if os.waitid(os.P_PID, self._server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return
        raise TriganError("the server process of the pool ended, and its jobs with it; the same command continues")


Launcher = ExecLauncher | ForkLauncher


def _server_pid() -> int:
    return getattr(server._forkserver, "_forkserver_pid", None) or 0

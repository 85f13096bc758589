"""Child processes as process groups: start, poll, signal, and end with SIGTERM and after a grace period SIGKILL."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

from trigan.atomic import signals_handled
from trigan.execution.job import TIMED_OUT

#: Seconds between two polls, and between SIGTERM and SIGKILL.
POLL, GRACE = 0.05, 15.0
#: One thread per process: with several processes, two torch threads each are 2 to 150 times slower than one.
SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: A child of ours. With -P it imports nothing from the current folder, which may hold a stranger's ``sklearn.py``; what
#: the user names in PYTHONPATH it does import.
TRIGAN = (sys.executable, "-P", "-m", "trigan")
#: The same for processes that other libraries start.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before any fork


@dataclass
class _Child:
    pid: int
    poll: Callable[[], int | None]
    started: float
    overdue: float | None = None


class Supervisor:
    """Child processes by name. Each leads a session, so that a signal reaches it and its descendants alone."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    def add(self, name: str, pid: int, poll: Callable[[], int | None]) -> None:
        """Supervise a child; ``poll`` returns its exit code (negative: a signal), or None while it runs."""
        self._children[name] = _Child(pid, poll, time.monotonic())

    def start_command(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start a command that ends with this process (on Linux); its output is appended to ``log`` if there is one."""
        with log.open("ab") if log else nullcontext() as out:
            child = Popen(command, cwd=cwd, env=env, stdin=DEVNULL, stdout=out, stderr=out, preexec_fn=_prepare_command)
        self.add(name, child.pid, child.poll)

    def ended(self, timeout: float | None = None, grace: float = GRACE) -> dict[str, int]:
        """Exit codes of the children that ended since the last call: negative for a signal, 124 for a timeout.

        A child that runs longer than ``timeout`` seconds gets SIGTERM, and SIGKILL ``grace`` seconds later.
        """
        codes, now = {}, time.monotonic()
        for name, child in list(self._children.items()):
            code = child.poll()
            if code is not None:
                codes[name] = code if child.overdue is None else TIMED_OUT
                del self._children[name]
            elif child.overdue is not None and now - child.overdue > grace:
                self.signal(name, signal.SIGKILL)
            elif timeout is not None and now - child.started > timeout:
                self.end(name)
        return codes

    def end(self, name: str) -> bool:
        """End a child as one that runs too long; False if it has ended, or was told to end before."""
        child = self._children.get(name)
        if child is None or child.overdue is not None:
            return False
        child.overdue = time.monotonic()
        self.signal(name, signal.SIGTERM)
        return True

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a child and its descendants; does nothing if the child has ended."""
        child = self._children.get(name)
        if child is not None and child.poll() is None:
            with suppress(ProcessLookupError):
                try:
                    os.killpg(child.pid, number)
                except ProcessLookupError:  # a forked child that has not called setsid yet
                    os.kill(child.pid, number)

    def signal_all(self, number: int) -> None:
        """Send a signal to all children and their descendants."""
        for name in self._children:
            self.signal(name, number)

    def end_all(self, grace: float = GRACE, caught: Sequence[int] = ()) -> None:
        """End all children: SIGTERM, at most ``grace`` seconds, SIGKILL. A new entry in ``caught`` ends the wait."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal_all(number)
            until, known = time.monotonic() + grace, len(caught)
            while self._children and time.monotonic() < until and len(caught) == known:
                Supervisor.ended(self)
                time.sleep(POLL)


def _prepare_command() -> None:
    """Prepare a command's process; Slurm sends SIGUSR1 and SIGUSR2 to all processes, but means the task alone."""
    lead_session()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def lead_session() -> None:
    """Start a session in this process, and let the kernel send it SIGTERM when its parent dies (on Linux)."""
    os.setsid()
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables of this process, inside the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of acting on them at once, so that children are ended first.

    Outside the main thread, where no handler can be installed, the list stays empty.
    """
    caught: list[int] = []
    with signals_handled(lambda number, frame: caught.append(number), signal.SIGINT, signal.SIGTERM):
        yield caught

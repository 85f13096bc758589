"""A single-threaded process that imports trigan's heavy parts once and forks a job for each line it is sent.

Input lines (JSON): ``{"start": name, "arguments": [...], "log": path, "variables": {...}}`` and
``{"signal": name, "number": n}``. Output lines: ``{"ended": name, "code": n}``, negative for a signal. The end of
the input ends the server, and its jobs with it.

A fork copies only the thread that forks, so the parent must have no other: it runs no torch operation, opens no data
set, starts no W&B service, and says how many threads its imports have left it with before it is asked to fork.
"""

import ctypes
import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

#: Seconds between two looks at ended children, and until children get SIGKILL after the server was told to end.
_POLL, _GRACE = 0.05, 10.0
_PR_SET_PDEATHSIG = 1


def main(entry: str, preload: list[str]) -> int:
    """Serve until the input ends."""
    replies = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints must not mix with the replies
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in preload:
        load(module)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    reply(replies, {"threads": threads()})
    Server(entry, replies).serve()
    return 0


def load(name: str) -> None:
    """Import a module, or with ``package.*`` a package and all that is in it."""
    package = import_module(name.removesuffix(".*"))
    if name.endswith(".*"):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                import_module(found.name)


class Server:
    """The loop and its children.

    Args:
        entry: ``module:function``, called with a job's arguments in the forked child.
        replies: file descriptor for the output lines.
    """

    def __init__(self, entry: str, replies: int) -> None:
        self._entry = entry
        self._replies = replies
        self._children: dict[int, str] = {}

    def serve(self) -> None:
        """Read and obey lines until the input ends, then end the children."""
        buffer = b""
        while True:
            ready = select.select([0], [], [], _POLL)[0]
            self._reap()
            if not ready:
                continue
            chunk = os.read(0, 65536)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                self._obey(json.loads(line))
        self._end_children()

    def _obey(self, message: dict[str, Any]) -> None:
        if "signal" in message:
            for pid in [pid for pid, name in self._children.items() if name == message["signal"]]:
                _signal_group(pid, message["number"])
            return
        if threads() > 1:  # a lock that another thread holds would never be released in the child
            raise RuntimeError("the fork server has more than one thread, so it cannot fork soundly")
        pid = os.fork()
        if pid == 0:
            _child(self._entry, message, self._replies)
        self._children[pid] = message["start"]

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._children.pop(pid)
            reply(self._replies, {"ended": name, "code": os.waitstatus_to_exitcode(status)})

    def _end_children(self) -> None:
        for number, wait in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
            for pid in self._children:
                _signal_group(pid, number)
            until = time.monotonic() + wait
            while self._children and time.monotonic() < until:
                self._reap()
                time.sleep(_POLL)


def threads() -> int:
    """Threads of this process, native ones included."""
    tasks = "/proc/self/task"
    return len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count()


def reply(where: int, message: dict[str, Any]) -> None:
    """Send one line to whoever started the server; a reader that has gone away is no error."""
    with suppress(BrokenPipeError):
        os.write(where, json.dumps(message).encode() + b"\n")


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with suppress(ProcessLookupError):  # the child has not made its session yet
            os.kill(pid, number)


def _child(entry: str, message: dict[str, Any], replies: int) -> None:
    """The forked job: own session, own log; never returns."""
    code = 1
    try:
        os.setsid()
        die_with_parent()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(replies)
        os.environ.update(message["variables"])  # before anything asks CUDA for its devices
        _redirect(message["log"])
        code = _call(entry, message["arguments"])
    finally:
        _flush()
        os._exit(code)


def _call(entry: str, arguments: list[str]) -> int:
    """The entry's exit code, as the interpreter would have given it."""
    module, _, name = entry.partition(":")
    try:
        function: Callable[[list[str]], int | None] = getattr(import_module(module), name)
        return function(arguments) or 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        _run_exit_handlers()


def _run_exit_handlers() -> None:
    """What a normal end of the interpreter does: wait for threads, run atexit handlers (W&B finishes its run there)."""
    import atexit

    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(Exception):
        atexit._run_exitfuncs()


def _redirect(log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.close(nothing)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies (Linux only), so that no job outlives a killed pool."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

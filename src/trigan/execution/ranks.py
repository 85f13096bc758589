"""One process per rank, started by trigan itself: torchrun's variables, and the end of one is the end of all.

Lightning's own re-launch of the script under a lock deadlocks, and repeats the whole command line in each child.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trigan.atomic import wrap_os_errors
from trigan.execution.forkserver import die_with_parent

_POLL = 0.05
#: Seconds between SIGTERM and SIGKILL for the ranks that outlive one that failed.
GRACE = 15.0


#: In the environment of the ranks that :func:`start` started: the process that reports the result of the run.
PARENT_VARIABLE = "TRIGAN_RANKS_PARENT"


def is_rank() -> bool:
    """Whether this process is a rank already (of ours, of torchrun's, or of Slurm's srun with torch's variables)."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def start(
    arguments: Sequence[str],
    devices: int,
    logs: Path,
    command: Sequence[str] = (sys.executable, "-m", "trigan"),
) -> int:
    """Start ``devices`` ranks of ``command arguments``, wait for all, and give the exit code of the first that failed.

    Rank 0 writes where this process does; the others to ``logs/rank<N>-<pid>.log``, which goes when all is well.
    SIGINT and SIGTERM are passed on.
    """
    with wrap_os_errors(logs):
        logs.mkdir(parents=True, exist_ok=True)
    files = {rank: logs / f"rank{rank}-{os.getpid()}.log" for rank in range(1, devices)}
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(devices)}
    shared[PARENT_VARIABLE] = str(os.getpid())
    ranks: list[subprocess.Popen[bytes]] = []
    before = _pass_on(ranks)
    try:
        for rank in range(devices):
            environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            ranks.append(_start_one([*command, *arguments], environment, files.get(rank)))
        code, culprit = _wait(ranks)
    finally:
        _end(ranks)
        for number, handler in before.items():
            signal.signal(number, handler)
    if code == 0:
        for path in files.values():
            path.unlink(missing_ok=True)
    elif culprit in files:
        print(f"trigan: rank {culprit} ended with exit code {code}; its log: {files[culprit]}", file=sys.stderr)
    return code


def _start_one(command: Sequence[str], environment: dict[str, str], log: Path | None) -> subprocess.Popen[bytes]:
    # a session of its own: a Ctrl-C at the terminal reaches a rank once, through this process
    output = log.open("wb") if log else None
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    finally:
        if output:
            output.close()


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int]:
    """Until all have ended well, or one has not: (exit code, rank), with 128 + n for signal n."""
    while True:
        codes = [process.poll() for process in ranks]
        for rank, code in enumerate(codes):
            if code:
                return (128 - code if code < 0 else code), rank
        if all(code == 0 for code in codes):
            return 0, 0
        time.sleep(_POLL)


def _end(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(ranks, number)
        until = time.monotonic() + GRACE
        while any(process.poll() is None for process in ranks) and time.monotonic() < until:
            time.sleep(_POLL)


def _send(ranks: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for process in ranks:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def _pass_on(ranks: Sequence[subprocess.Popen[bytes]]) -> dict[int, Any]:
    """Send SIGINT and SIGTERM on to the ranks, which then end as they see fit; gives the handlers from before."""

    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread may install handlers

    def forward(number: int, frame: Any) -> None:
        _send(ranks, number)

    return {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

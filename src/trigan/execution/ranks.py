"""One process per device of a run, with the environment variables of torchrun; the end of one rank ends all.

Lightning's own launcher starts the script again under a lock, which deadlocks, and with the whole command line.
"""

import logging
import math
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from trigan.atomic import make_folder, wrap_os_errors
from trigan.execution.job import STOP_SIGNALS
from trigan.execution.supervisor import POLL, TRIGAN, Supervisor, deferred_signals

#: Seconds in which a rank that was stopped ends, after another has failed because of it.
_STOPPED_SOON = 3.0
_log = logging.getLogger("trigan")

#: In the environment of the ranks that `start` started: the process that reports the result of the run.
PARENT_VARIABLE = "TRIGAN_RANKS_PARENT"


def is_rank(devices: int | None = None) -> bool:
    """Whether this process is one of so many, of trigan, of torchrun, or of Slurm's srun with torchrun's variables.

    ``devices`` None: of any number.
    """
    size = os.environ.get("WORLD_SIZE")
    return "RANK" in os.environ and size is not None and (devices is None or size == str(devices))


def start(arguments: Sequence[str], devices: int, logs: Path, command: Sequence[str] = TRIGAN) -> int:
    """Start ``devices`` ranks of ``command arguments`` and wait for all; SIGINT and SIGTERM are passed on to them.

    Rank 0 writes where this process does, the others to ``logs/rank<N>-<pid>.log``, which is removed on success.

    Returns:
        0, or the exit code of the first rank that failed: 128 + n for signal n.
    """
    with wrap_os_errors(logs):
        make_folder(logs)
    files = {rank: logs / f"rank{rank}-{os.getpid()}.log" for rank in range(1, devices)}
    with socket.socket() as probe:  # finds a free port
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(devices)}
    shared[PARENT_VARIABLE] = str(os.getpid())
    ranks = Supervisor()
    with deferred_signals() as caught:
        try:
            for rank in range(devices):
                environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                ranks.start_command(str(rank), [*command, *arguments], environment, files.get(rank))
            rank, code = _wait(ranks, devices, caught)
        finally:
            ranks.end_all(caught=caught)
    if code == 0:
        for path in files.values():
            path.unlink(missing_ok=True)
    elif rank in files:
        _log.error("trigan: rank %d ended with exit code %d; its log: %s", rank, code, files[rank])
    return code


def _wait(ranks: Supervisor, running: int, caught: Sequence[int]) -> tuple[int, int]:
    """Wait until one of the ranks has failed, or all have ended well, and return (rank, exit code).

    When a rank is stopped, others fail because of it, perhaps before it has ended: the stopped one counts.
    """
    forwarded, failed, until = 0, (0, 0), math.inf
    while running and time.monotonic() < until:
        for number in caught[forwarded:]:
            ranks.signal_all(number)
            forwarded += 1
        for rank, code in ranks.ended().items():
            running -= 1
            code = 128 - code if code < 0 else code
            if code - 128 in STOP_SIGNALS:
                return int(rank), code
            if code and not failed[1]:
                failed, until = (int(rank), code), time.monotonic() + _STOPPED_SOON
        time.sleep(POLL)
    return failed

"""The failure file: written into a failed run's directory, so that the next call can skip the run.

A run that raises writes it itself. If it could not (killed, out of time, ended without a record), the pool or node that
started it writes it. A run stopped from outside gets no failure file: it counts as missing, like one never started.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from trigan.atomic import wrap_os_errors, write_bytes

FAILURE_NAME = "failure.json"


@dataclass(frozen=True)
class Failure:
    """How a run failed.

    Attributes:
        reason: ``exit 1``, ``killed by SIGKILL``, ``timed out``.
        message: the last line of its output.
        log: path of the full output; empty if there is none.
        ended: time in ISO 8601.
    """

    reason: str
    message: str = ""
    log: str = ""
    ended: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


def write(directory: Path, failure: Failure) -> None:
    """Mark the run of a directory as failed, now."""
    stamped = asdict(failure) | {"ended": datetime.now(UTC).isoformat(timespec="seconds")}
    write_bytes(directory / FAILURE_NAME, (json.dumps(stamped, indent=1) + "\n").encode())


def read(directory: Path) -> Failure | None:
    """The failure of a run, or None; an unreadable file still counts as a failure."""
    try:
        fields = json.loads((directory / FAILURE_NAME).read_bytes())
        return Failure(**{key: str(fields[key]) for key in ("reason", "message", "log", "ended")})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Failure("failed")


def remove(directory: Path) -> None:
    """Delete the failure file, so that the run is tried again."""
    with wrap_os_errors(directory / FAILURE_NAME, "remove"):
        (directory / FAILURE_NAME).unlink(missing_ok=True)

"""The mark of a failed run: a file in its directory that says how it ended, so that the next call can leave it out.

A run that raises leaves it itself, whoever started it; one that could not (it was killed, ran out of time, or ended
without a record) is marked by the pool or the node that started it. A run that was stopped from outside leaves none:
it is missing, as one that never began.
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
        reason: as in ``exit 1``, ``killed by SIGKILL``, ``timed out``.
        message: the last line of what it said.
        log: where all of that is; empty where nobody kept it.
        ended: when, in ISO 8601.
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
    """The mark of a run, if it has one; one that cannot be read still says that the run failed."""
    try:
        said = json.loads((directory / FAILURE_NAME).read_bytes())
        return Failure(str(said["reason"]), str(said["message"]), str(said["log"]), str(said["ended"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Failure("failed")


def remove(directory: Path) -> None:
    """Take the mark away: the run is tried again."""
    with wrap_os_errors(directory / FAILURE_NAME, "remove"):
        (directory / FAILURE_NAME).unlink(missing_ok=True)

"""Targets, jobs and ranks that stand in for the real ones: nothing here trains."""

import os
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trigan.errors import ConfigError


@dataclass(frozen=True)
class Source:
    fingerprint: str

    @property
    def identity(self) -> str:
        return self.fingerprint


@dataclass(frozen=True)
class Data:
    root: str | None = field(default=None, metadata={"identity": False})
    size: int = 8
    fingerprint: str = "abc"

    def load(self, cache: Path) -> Source:
        return Source(self.fingerprint)


@dataclass(frozen=True)
class Network:
    width: int
    slope: float = 0.2
    kind: Literal["plain", "residual"] = "plain"
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width={self.width}: expected at least 1; give architecture.width=32")


@dataclass(frozen=True)
class Strategy:
    network: Network
    steps: int = 10
    matched_flops: float | None = None
    flag: bool = False


@dataclass(frozen=True)
class Trainer:
    devices: int = field(default=1, metadata={"identity": False})
    precision: Literal["32", "bf16"] = "32"

    def accelerator_here(self) -> str:
        return "cpu"


@dataclass(frozen=True)
class Logger:
    project: str = "trigan"


def unreadable() -> Any:
    raise ValueError("second\nline")


def job(arguments: list[str]) -> int:
    """A job's main: does what its first word says."""
    word = arguments[0]
    if word == "ok":
        print("said", *arguments[1:], "group", os.getpgid(0) == os.getpid())
        return 0
    if word == "raise":
        raise RuntimeError("boom")
    if word == "exit":
        sys.exit(int(arguments[1]))
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    if word == "hang":
        Path(arguments[1]).write_text(str(os.getpid()))
        time.sleep(600)
    if word == "finish":  # with what the pool has given it
        place = Path(arguments[1])
        place.mkdir(parents=True)
        (place / "record.json").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if word == "greedy":
        resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
        bytearray(1 << 30)
    if word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(arguments[1]).write_text(str(os.getpid()))
        while True:
            time.sleep(1)
    return 0


if __name__ == "__main__":
    sys.exit(job(sys.argv[1:]))

"""What the stand-in of W&B's server keeps: runs, artifacts and sweeps as plain objects that tests read."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import yaml

#: The stand-in's one user, who is also the entity.
ENTITY = "me"


@dataclass
class Run:
    """A run as its client told it; ``exit_code`` is None until it said that it was over."""

    id: str
    project: str
    serial: int
    told: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    streams: int = 0
    sent_again: int = 0

    def tell(self, variables: dict[str, Any]) -> None:
        """What ``upsertBucket`` says of it; what it leaves out stays."""
        self.told.update({key: value for key, value in variables.items() if value is not None})
        self.exit_code = None

    def take(self, body: dict[str, Any]) -> None:
        """A message of its file stream: lines at their offsets, and the end."""
        self.streams += 1
        for name, chunk in (body.get("files") or {}).items():
            held, start = self.lines.setdefault(name, []), int(chunk["offset"])
            assert start <= len(held), f"{name}: a hole before line {start}"
            self.sent_again += len(held[start : start + len(chunk["content"])])
            held[start : start + len(chunk["content"])] = chunk["content"]
        if body.get("complete"):
            self.exit_code = int(body.get("exitcode") or 0)

    @property
    def config(self) -> dict[str, Any]:
        """What the user gave, without W&B's own entry."""
        found = json.loads(self.told.get("config") or "{}")
        return {key: entry["value"] for key, entry in found.items() if key != "_wandb"}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged, without W&B's own columns."""
        rows = map(json.loads, self.lines.get("wandb-history.jsonl", []))
        return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]

    @property
    def steps(self) -> list[int]:
        """W&B's own number of each row."""
        return [json.loads(line)["_step"] for line in self.lines.get("wandb-history.jsonl", [])]

    @property
    def summary(self) -> dict[str, Any]:
        """The summary, without W&B's own entries."""
        text = (self.lines.get("wandb-summary.json") or ["{}"])[-1]
        return {key: value for key, value in json.loads(text).items() if not key.startswith("_")}

    @property
    def state(self) -> str:
        if self.exit_code is None:
            return "running"
        return "finished" if self.exit_code == 0 else "failed"


@dataclass
class Artifact:
    """One version of an artifact: who made it, who used it, its manifest and where its files are stored."""

    id: str
    name: str
    type: str
    digest: str
    metadata: dict[str, Any]
    aliases: list[str]
    created_by: str
    version: int
    committed: bool = False
    used_by: list[str] = field(default_factory=list)
    logged_by: list[str] = field(default_factory=list)
    client_ids: list[str] = field(default_factory=list)
    manifest: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Sweep:
    """A sweep: its config as text, and the runs that agents were told to start, with their arguments."""

    id: str
    project: str
    config: str
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = "RUNNING"

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the listed values; a parameter without a list has its ``value``, or its least."""
        parameters = yaml.safe_load(self.config)["parameters"]
        choices = [one.get("values") or [one.get("value", one.get("min"))] for one in parameters.values()]
        return [dict(zip(parameters, values, strict=True)) for values in itertools.product(*choices)]


class Kept:
    """Everything that clients sent; runs by their ids, which are the same in all projects here."""

    url: str

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: list[Artifact] = []
        self.sweeps: dict[str, Sweep] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.agents: dict[str, str] = {}
        self.storage: dict[str, bytes] = {}
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """The next of the numbers that stand in for W&B's opaque ids."""
        return next(self._numbers)

    def address(self, key: str) -> str:
        """Where the bytes of ``key`` are sent and fetched."""
        return f"{self.url}/storage/{key}"

    def store(self, key: str, body: bytes) -> None:
        self.storage[key] = body

    def file(self, run: str, name: str) -> bytes:
        """A file of a run."""
        return self.storage[self.runs[run].files[name]]

    def named(self, name: str) -> list[Artifact]:
        """The versions of an artifact, oldest first."""
        return [artifact for artifact in self.artifacts if artifact.name == name and artifact.committed]

    def by_id(self, key: str) -> Artifact:
        return next(artifact for artifact in self.artifacts if artifact.id == key)

"""A search whose trials train nothing: children that only write what a run would have left."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trigan.errors import ConfigError
from trigan.execution.job import Job
from trigan.search import trial_accounting
from trigan.search.heartbeat import Presence
from trigan.search.metric import Metric
from trigan.search.space import Dimension, Space
from trigan.search.storage import open_storage, open_study
from trigan.search.target import Target
from trigan.search.trial_accounting import DEFAULT, TICKET
from trigan.search.trial_progress import Reporter
from trigan.search.worker import Rules, Worker

ACCURACY = Metric("accuracy", True)
SPACE = Space(
    "toy",
    ("strategy=toy",),
    (Dimension("x", 0.5, "uniform", (0.0, 1.0)), Dimension("kind", "a", "choice", ("a", "b"))),
)


class ToyComposer:
    """Composes any words; their hash is the words."""

    def compose(self, words: Sequence[str]) -> Any:
        if "kind=b" in words and "refuse=b" in words:
            raise ConfigError("kind=b: makes no sense")
        name = "_".join(word for word in words if word[0] in "xk")
        return SimpleNamespace(run_hash=lambda fingerprint: name)


class Children:
    """A launcher whose children are done at the next look; ``play`` says what each leaves and how it ends."""

    def __init__(self, play: Callable[[Path, Mapping[str, str]], int | None], outputs: Path) -> None:
        self.play, self.outputs = play, outputs
        self.started: list[str] = []
        self.running: dict[str, Path] = {}
        self.signals: list[tuple[str, int]] = []

    def start(self, job: Job, log: Path) -> None:
        assert job.overrides[0] == "--sealed"
        words = [word for word in job.overrides if word[0] in "xk"]
        self.started.append("_".join(words))
        self.running[job.name] = self.outputs / "search" / "runs" / "_".join(words)

    def ended(self) -> dict[str, int]:
        codes = {}
        for name, folder in list(self.running.items()):
            folder.mkdir(parents=True, exist_ok=True)
            point = dict(word.split("=") for word in folder.name.split("_"))
            code = 143 if any(name == told for told, _ in self.signals) else self.play(folder, point)
            if code is not None:
                codes[name] = code
                del self.running[name]
        return codes

    def signal(self, name: str, number: int) -> None:
        self.signals.append((name, number))

    def close(self) -> None: ...


def score(folder: Path, point: Mapping[str, str], status: str = "finished") -> int:
    """A sealed record whose accuracy is ``x``."""
    result = {"status": status, "validation": {"accuracy": float(point["x"])}, "cost": {"flops": 10}}
    (folder / "validation.json").write_text(json.dumps({"schema_version": 1, "run": folder.name, "result": result}))
    return 0


def target(outputs: Path, *settings: str) -> Target:
    composer: Any = ToyComposer()
    return Target("toy-1", SPACE, settings, 40, 0, outputs, composer, "f")


def study_of(aim: Target, where: str | None = None) -> Any:
    return open_study(open_storage(where, aim.folder), aim.name, ACCURACY)


def made(
    aim: Target, children: Children, rules: Rules, presence: Presence | None = None, where: str | None = None
) -> Worker:
    """A worker with a view of the storage of its own, as another process has it."""
    study = study_of(aim, where)
    if not study.trials:
        study.enqueue_trial(aim.space.default, user_attrs={TICKET: DEFAULT})
    presence = presence or Presence(aim.outputs / "search" / "workers")
    launcher: Any = children
    return Worker([(aim, study)], rules, lambda: launcher, Reporter(rules.budget, rules.metric), presence)


def points(aim: Target, where: str | None = None) -> list[tuple[str, float | None]]:
    return [(trial.state.name, trial.value) for trial in trial_accounting.counted(study_of(aim, where).trials)]

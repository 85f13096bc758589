"""A search whose trials train nothing: children that only write what a run would have left."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trigan.config.settings import Resources
from trigan.errors import ConfigError
from trigan.execution.job import Job
from trigan.execution.supervisor import Supervisor
from trigan.search import trial_accounting
from trigan.search.metric import ValidationMetric
from trigan.search.space import Dimension, SearchSpace
from trigan.search.storage import open_storage, open_study
from trigan.search.strategy_search import StrategySearch
from trigan.search.trial_accounting import DEFAULT, ENQUEUED_AS
from trigan.search.worker import SearchSettings, Worker
from trigan.search.worker_lock import WorkerLock

ACCURACY = ValidationMetric("accuracy", True)
SPACE = SearchSpace(
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
        return SimpleNamespace(run_hash=lambda fingerprint: name, resources=Resources())


class Children(Supervisor):
    """A launcher whose children are done at the next look; ``play`` says what each leaves and how it ends."""

    def __init__(self, play: Callable[[Path, Mapping[str, str]], int | None], outputs: Path) -> None:
        super().__init__()
        self.play, self.outputs = play, outputs
        self.started: list[str] = []
        self.signals: list[tuple[str, int]] = []

    def start(self, job: Job, log: Path, variables: Mapping[str, str] | None = None) -> None:
        assert job.overrides[0] == "--validation-only"
        words = [word for word in job.overrides if word[0] in "xk"]
        self.started.append("_".join(words))
        folder, point = self.outputs / "search" / "runs" / "_".join(words), dict(word.split("=") for word in words)

        def poll() -> int | None:
            folder.mkdir(parents=True, exist_ok=True)
            return 143 if any(job.name == told for told, _ in self.signals) else self.play(folder, point)

        self.add(job.name, 0, poll)

    def signal(self, name: str, number: int) -> None:
        self.signals.append((name, number))


def score(folder: Path, point: Mapping[str, str], status: str = "finished") -> int:
    """A validation record whose accuracy is ``x``."""
    result = {"status": status, "validation": {"accuracy": float(point["x"])}, "cost": {"flops": 10}}
    (folder / "validation.json").write_text(json.dumps({"schema_version": 2, "run": folder.name, "result": result}))
    return 0


def target(outputs: Path, *settings: str) -> StrategySearch:
    composer: Any = ToyComposer()
    return StrategySearch("toy-1", SPACE, settings, 40, 0, outputs, composer, "f")


def study_of(aim: StrategySearch, where: str | None = None) -> Any:
    return open_study(open_storage(where, aim.folder), aim.name, ACCURACY)


def made(
    aim: StrategySearch,
    children: Children,
    rules: SearchSettings,
    worker_lock: WorkerLock | None = None,
    where: str | None = None,
) -> Worker:
    """A worker with a view of the storage of its own, as another process has it."""
    study = study_of(aim, where)
    if not study.trials:
        study.enqueue_trial(aim.space.default_point, user_attrs={ENQUEUED_AS: DEFAULT})
    worker_lock = worker_lock or WorkerLock(aim.outputs / "search" / "workers")
    launcher: Any = children
    return Worker([(aim, study)], rules, lambda: launcher, worker_lock)


def points(aim: StrategySearch, where: str | None = None) -> list[tuple[str, float | None]]:
    return [(trial.state.name, trial.value) for trial in trial_accounting.counted_trials(study_of(aim, where).trials)]

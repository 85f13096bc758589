"""How long runs will take: a few steps of each of their stages are measured, and all else that they do is done once."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from trigan.artifacts.store import Store
from trigan.config.compose import RunConfig
from trigan.cost import Cost
from trigan.datasets.inputs import Inputs
from trigan.datasets.mirror_check import with_flips_decided
from trigan.datasets.types import TrainingView
from trigan.identity import digest
from trigan.strategies.augment import Augment
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.fit import fit
from trigan.training.stage import Stage

#: Steps of the two short fits of each stage. Both compare the usual number of checkpoints on validation images, so the
#: difference is the time of steps alone.
SHORT, LONG = 10, 20
#: Seconds that a run takes beside its strategy: its start, its evaluation and its pictures (measured on digits).
RUN_SECONDS = 3.0

_log = logging.getLogger("trigan")


@dataclass
class _MeasuringRunner(StageRunner):
    """Trains a few steps of each stage, and estimates the seconds of the whole fit; nothing is stored.

    ``seconds`` has the estimate of each stage, by its digest; ``measuring`` are the seconds that each measurement took.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    measuring: list[float] = field(default_factory=list)

    def train(self, name: str, stage: Stage, inputs: Inputs, seed: int | None = None) -> TrainedStage:
        """Fit the stage twice for a few steps; the networks are those of the longer fit."""
        began = time.perf_counter()
        context = self._context(self.seed if seed is None else seed, None)
        key = digest(self._identity(stage, inputs, context), 32)
        steps, took = stage.build(context, inputs).plan.steps, []
        for few in (min(SHORT, steps), min(LONG, steps)):
            module = stage.build(self._context(context.seed, few), inputs)
            started = time.perf_counter()
            fit(module, self.settings)
            took.append(time.perf_counter() - started)
        started = time.perf_counter()
        networks = {player: network.eval() for player, network in stage.finish(module, inputs).items()}
        each = max(0.0, took[1] - took[0]) / max(1, min(LONG, steps) - min(SHORT, steps))
        self.seconds[key] = took[0] + each * (steps - min(SHORT, steps)) + time.perf_counter() - started
        self.measuring.append(time.perf_counter() - began)
        trained = TrainedStage(name, stage.kind, key, networks, Cost(), "finished", steps, Path(), reused=False)
        self.trained_stages.append(trained)
        return trained


def estimate_seconds(runs: Mapping[str, RunConfig], view: TrainingView) -> dict[str, float]:
    """Seconds of each run, by name, on one process; a stage that runs share is counted for the first of them.

    Args:
        runs: runs on the same split.
        view: of that split; read, and not closed.
    """
    estimates: dict[str, float] = {}
    known: set[str] = set()
    for number, (name, composed) in enumerate(runs.items(), 1):
        _log.info("measuring a few steps, row %d of %d: %s", number, len(runs), name)
        logging.disable(logging.WARNING)  # of so short fits, no message means anything; the runs say it again
        try:
            besides, stages = _measure(name, composed, view)
        finally:
            logging.disable(logging.NOTSET)
        estimates[name] = RUN_SECONDS + besides + sum(stages[key] for key in stages.keys() - known)
        known |= stages.keys()
    return estimates


def _measure(name: str, composed: RunConfig, view: TrainingView) -> tuple[float, dict[str, float]]:
    """Seconds of a run beside its stages, and the estimate of each stage by its digest."""
    built = composed.build()
    strategy, _ = with_flips_decided(built.strategy, view)
    if isinstance(strategy, Augment):  # after so few steps a teacher is sure of no image, and a filter keeps none
        strategy = replace(strategy, label_threshold=0.0, samples=replace(strategy.samples, filters=()))
    with TemporaryDirectory(prefix="trigan-") as folder:
        runner = _MeasuringRunner(Store(Path(folder)), name, view.spec, composed.seed, built.trainer)
        started = time.perf_counter()
        strategy.run(view, runner)
        return time.perf_counter() - started - sum(runner.measuring), runner.seconds

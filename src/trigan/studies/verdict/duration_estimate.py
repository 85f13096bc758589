"""How long runs will take, and how many operations: a few steps of each distinct stage are measured.

Of a fit's checkpoints one is measured; of a probe, fits to a part of the images; of samples, a few. All else that runs
do is done once.
"""

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from trigan.artifacts.store import Store
from trigan.config.compose import RunConfig
from trigan.cost import Cost
from trigan.datasets.inputs import Inputs
from trigan.datasets.mirror_check import with_flips_decided
from trigan.datasets.types import TrainingView
from trigan.identity import digest
from trigan.samples.collect import CANDIDATES_PER_BATCH, MAX_CANDIDATES_PER_IMAGE, CollectedSamples
from trigan.strategies.augment import Augment
from trigan.strategies.backbones import FineTune
from trigan.strategies.features import Features
from trigan.strategies.probes import Array, FittedProbe, Holdout, Labels, Probe
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.balance import class_counts
from trigan.training.fit import fit
from trigan.training.players import PlayersModule
from trigan.training.stage import Stage, StageContext

T = TypeVar("T")
_log = logging.getLogger("trigan")

#: Steps of the first short fit of each stage; the second has up to ten times as many, in half a second more. Their
#: difference is the time of steps alone.
SHORT, MORE_SECONDS = 10, 0.5
#: Samples that are drawn to measure how long more of them take.
FEW_SAMPLES = 500
#: From so many images on, a probe is fitted to an eighth and a quarter of them.
MANY_IMAGES = 1000
#: Seconds that a run takes beside its strategy: its start, its evaluation and its pictures (measured on X-rays).
RUN_SECONDS = 1.5


@dataclass
class _MeasuringRunner(StageRunner):
    """Measures a few steps of each stage that is not ``known`` yet, by digest; nothing is stored.

    ``seconds`` are the estimates of what was not known, ``measuring`` what the measurements took. ``samples`` and
    ``candidates`` are those that the run will draw.
    """

    known: dict[str, TrainedStage] = field(default_factory=dict)
    samples: int = 0
    candidates: int = 0
    samples_factor: float = 1.0
    seconds: list[float] = field(default_factory=list)
    measuring: list[float] = field(default_factory=list)

    def train(self, name: str, stage: Stage, inputs: Inputs, seed: int | None = None) -> TrainedStage:
        """Measure the stage, unless it is known; the networks are those of a short fit."""
        context = self._context(self.seed if seed is None else seed, None)
        key = digest(self._identity(stage, inputs, context), 32)
        if key not in self.known:
            self.known[key], took = _timed(lambda: self._few_steps(key, stage, inputs, context))
            self.measuring.append(took)
        known = self.known[key]
        self.trained_stages.append(replace(known, name=name, networks=copy.deepcopy(known.networks)))
        return self.trained_stages[-1]

    def run_task(self, name: str, task: Callable[[], T]) -> T:
        """See `StageRunner.run_task`; sampling and the labelling of samples count for all that the run will draw."""
        result, took = _timed(lambda: StageRunner.run_task(self, name, task))
        if isinstance(result, CollectedSamples):
            factor = self.candidates / max(1, result.n_candidates)
            self.samples_factor = self.samples / max(1, len(result.data))
        elif name == "soft labels":
            factor = self.samples_factor
        else:
            return result
        self.seconds.append((factor - 1) * took)
        self.task_costs[name] = Cost(round(factor * self.task_costs[name].flops))
        return result

    def _few_steps(self, key: str, stage: Stage, inputs: Inputs, context: StageContext) -> TrainedStage:
        """The stage after a short fit without checkpoints; its cost is that of the whole fit, whose time is noted."""
        whole = stage.build(context, inputs)
        steps, few = whole.plan.steps, min(SHORT, whole.plan.steps)
        _, first, flops = self._short_fit(stage, inputs, context.seed, few)
        longer = min(steps, SHORT * (1 + max(1, min(9, int(MORE_SECONDS / first)))))
        module, second, more_flops = self._short_fit(stage, inputs, context.seed, longer)
        more = (steps - few) / max(1, longer - few)
        module.to(self.settings.device)  # Lightning leaves the module on the CPU
        checkpoints = len(whole.selector.due_steps) if whole.selector is not None else 0
        validation = _timed(module.validate)[1] if checkpoints else 0.0
        networks, finish = _timed(lambda: stage.finish(module, inputs))
        self.seconds.append(first + more * max(0.0, second - first) + checkpoints * validation + finish)
        counted = Cost(round(flops + more * (more_flops - flops) + checkpoints * module.flops_per_validation))
        networks = {player: network.eval() for player, network in networks.items()}
        return TrainedStage("", stage.kind, key, networks, counted, "finished", steps, Path(), reused=False)

    def _short_fit(self, stage: Stage, inputs: Inputs, seed: int, steps: int) -> tuple[PlayersModule, float, int]:
        """The module after so many steps without a checkpoint, its seconds and its operations."""
        module = stage.build(self._context(seed, steps), inputs)
        if module.selector is not None:
            module.selector.due_steps = set()
        return module, _timed(lambda: fit(module, self.settings))[1], module.flops


@dataclass(frozen=True)
class _PartOfProbe:
    """Fits ``probe`` to an eighth and a quarter of the images, and extrapolates to all of them by a power law.

    Its exponent is between 1 and 2.
    """

    probe: Probe
    runner: _MeasuringRunner

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout = None) -> FittedProbe:
        """See `Probe.fit`."""
        if len(labels) < MANY_IMAGES:
            return self.probe.fit(features, labels, classes, seed, holdout)
        by_class, took = np.argsort(labels, kind="stable"), list[float]()
        for rows in (by_class[::8], by_class[::4]):
            fitted, seconds = _timed(partial(self.probe.fit, features[rows], labels[rows], classes, seed, holdout))
            took.append(seconds)
        self.runner.measuring.append(sum(took))
        self.runner.seconds.append(took[1] * min(4.0, max(2.0, took[1] / took[0])) ** 2)
        return fitted


class DurationEstimates:
    """Estimates of runs on the split of ``view``, on one process; a stage that runs share counts for the first of them.

    Attributes:
        seconds: of each run that was measured, by name.
        flops: operations of each, with those of shared stages.
    """

    def __init__(self, view: TrainingView) -> None:
        self._view, self._known = view, dict[str, TrainedStage]()  # the view is read, and not closed
        self.seconds, self.flops = dict[str, float](), dict[str, int]()

    def measure(self, name: str, composed: RunConfig) -> None:
        """Add a run."""
        _log.info("measuring a few steps of %s", name)
        built = composed.build()
        logging.disable(logging.WARNING)  # of so short fits, no message means anything; the runs say it again
        try:
            strategy, _ = with_flips_decided(built.strategy, self._view)
            with TemporaryDirectory(prefix="trigan-") as folder:
                place = Store(Path(folder)), name, self._view.spec, composed.seed, built.trainer
                runner = _MeasuringRunner(*place, known=self._known)
                if isinstance(strategy, Augment):
                    strategy, runner.samples, runner.candidates = _with_few_samples(strategy, self._view)
                if isinstance(strategy, Features) and not isinstance(strategy.probe, FineTune):
                    strategy = replace(strategy, probe=_PartOfProbe(strategy.probe, runner))
                _, took = _timed(lambda: strategy.run(self._view, runner))
        finally:
            logging.disable(logging.NOTSET)
        self.seconds[name] = RUN_SECONDS + took - sum(runner.measuring) + sum(runner.seconds)
        self.flops[name] = runner.total_cost().flops


def _with_few_samples(strategy: Augment, view: TrainingView) -> tuple[Augment, int, int]:
    """The strategy with about ``FEW_SAMPLES`` and without filters; and how many samples and candidates it will draw.

    After so few steps a teacher is sure of no image, and a filter would keep none. Candidates whose label is predicted
    are taken to have the classes of the labelled images.
    """
    (wanted, sets), samples = strategy.wanted_samples(view), strategy.samples
    each = int(wanted.sum())
    fewer = max(1, each * sets // FEW_SAMPLES)
    few_sets = max(1, sets // fewer)
    few = replace(samples, filters=(), sets=few_sets, ratio=samples.ratio * sets / (few_sets * fewer))
    candidates = max(each, min(2 * each, CANDIDATES_PER_BATCH))
    if "label_threshold" not in strategy.unused_settings:
        counts = class_counts(view.labelled.labels, view.spec.classes)
        rarest = float((wanted * counts.sum() / counts.clamp(min=1)).max())
        candidates = round(min(MAX_CANDIDATES_PER_IMAGE * each, max(candidates, rarest)))
    return replace(strategy, label_threshold=0.0, samples=few), each * sets, candidates * sets


def _timed(task: Callable[[], T]) -> tuple[T, float]:
    """What ``task`` returns, and its seconds."""
    started = time.perf_counter()
    return task(), time.perf_counter() - started

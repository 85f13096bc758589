"""What the whole-tree tests share: words that make any run small, and a strategy run on its view alone."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.support.drawn import generate
from trigan.artifacts.store import Store
from trigan.component_ids import with_identifiers
from trigan.config import nodes
from trigan.config.compose import Composer, RunConfig, unresolved
from trigan.datasets.mirror_check import with_flips_decided
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.external_data import with_external
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.samples.filters import outputs
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome
from trigan.tables.classifier_differences import not_applied

torch.set_num_threads(1)

#: Few steps, narrow networks, few samples; those that a choice doesn't have are left out by :func:`small`.
SMALL = {
    "architecture.width": "8",
    "architecture.sampler.steps": "3",
    "classifier.width": "8",
    "strategy.samples.ratio": "1",
    "strategy.label_threshold": "0",
    "strategy.samples.filters": "[{_target_:trigan.samples.filters.ConfidenceFilter,threshold:0.0}]",
    "strategy.probe.folds": "2",
    "strategy.probe.penalties": "[0.01]",
    "strategy.probe.hidden": "4",
    "strategy.probe.steps": "2",
    "strategy.backbone.stage.hidden": "8",
}


@functools.cache
def composer() -> Composer:
    """One for all tests of a process: it keeps what it has read."""
    return Composer()


def small(*words: str, steps: int = 2) -> list[str]:
    """``words``, and after them what makes the run small and keeps it to files."""
    chosen = ["debug=fast", f"debug.max_steps={steps}", "logger=none", "callbacks=quiet", *words]
    parsed = composer().parse(chosen)
    known = nodes.dotted_keys(unresolved(composer().base(parsed)))  # kept, and needed again when it is composed
    given = {override.key_or_group for override in parsed}
    given |= {"strategy.samples.filters"} if "strategy/filter" in given else set()
    return [*chosen, *(f"{key}={value}" for key, value in SMALL.items() if key in known and key not in given)]


@dataclass(frozen=True)
class Done:
    """A strategy's work, before anything is evaluated."""

    source: ImageDataset
    drawn: DataSplit
    runner: StageRunner
    outcome: Outcome
    config: dict[str, Any]


def run_strategy(composed: RunConfig, place: Path) -> Done:
    """Draw the data and run the strategy, with its stages stored under ``place``."""
    built, source = composed.build(), composed.load_data()
    drawn = draw_split(source, built.regime, composed.trial)
    if (other := composed.load_external()) is not None:
        drawn = with_external(drawn, source, other)
    debug = composed.debug
    runner = StageRunner(
        Store(place), "0" * 20, drawn.view.spec, composed.seed, built.trainer, debug.max_steps if debug else None
    )
    strategy, _ = with_flips_decided(built.strategy, drawn.view)
    outcome = strategy.run(drawn.view, runner)
    return Done(source, drawn, runner, outcome, with_identifiers(composed.config))


def check(done: Done) -> None:
    """It classifies, every player of every stage has moved, and what came out is finite."""
    spec, outcome = done.drawn.view.spec, done.outcome
    logits = outputs(outcome.classifier, done.drawn.view.labelled.images[:3])
    assert logits.shape == (3, spec.classes)
    assert torch.isfinite(logits).all()
    assert outcome.status == "finished"
    stages = [{"name": one.name, "classifier": one.classifier} for one in done.runner.trained_stages if one.classifier]
    record: Any = {"config": done.config, "result": {"stages": stages}}
    assert not_applied(record) == (), "C was shown images without the augmentation of the settings"
    for trained in done.runner.trained_stages:
        assert all(not network.training for network in trained.networks.values())
        if not trained.name.startswith("untrained"):
            assert all(count > 0 for count in trained.cost.images.values()), f"{trained.name}: {trained.cost.images}"
            assert trained.cost.flops > 0
    if outcome.generator is not None:
        labels = torch.zeros(2, dtype=torch.int64) if int(outcome.generator.classes) else None
        samples = generate(outcome.generator, seed=0, count=2, labels=labels).images
        assert samples.shape == (2, spec.channels, spec.size, spec.size)

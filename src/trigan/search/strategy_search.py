"""One strategy of a search: its space under the user's settings, the run of each point, and the files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trigan.config.compose import Composer
from trigan.config.settings import Resources
from trigan.config.settings_file import dotted_key
from trigan.datasets.splits.draw_split import draw_split
from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.runs.validation_run import require_validation_labels, validation_record_path
from trigan.search.metric import ValidationMetric
from trigan.search.space import Dimension, SearchSpace, Value, check_defaults


@dataclass(frozen=True)
class StrategySearch:
    """A space with the user's settings.

    Attributes:
        name: the space's, and a hash of all that the results depend on.
        settings: the user's own, for all trials.
        validation_labels: how many validation labels a trial is scored on.
        outputs: ``paths.outputs``.
    """

    name: str
    space: SearchSpace
    settings: tuple[str, ...]
    validation_labels: int
    trial: int
    outputs: Path
    composer: Composer = field(repr=False)
    fingerprint: str = field(repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the journal, the logs and the results."""
        return self.outputs / "search" / self.name

    @cached_property
    def resources(self) -> Resources:
        """What each trial computes on."""
        return self.composer.compose(self.trial_overrides(self.space.default_point)).resources

    def record_path(self, point: Mapping[str, Value]) -> Path:
        """The validation record of a point, in a folder named by the run's hash; a ConfigError for a wrong point."""
        composed = self.composer.compose(self.trial_overrides(point))
        return validation_record_path(self.outputs, composed.run_hash(self.fingerprint))

    def trial_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """What follows ``trigan run`` for a point; trials have no logger unless the user names one."""
        logger = [] if any(dotted_key(word) == "logger" for word in self.settings) else ["logger=none"]
        return [*self.space.strategy, *logger, *self.settings, *self.space.overrides(point)]


def strategy_searches(
    composer: Composer, spaces: Sequence[SearchSpace], settings: Sequence[str], metric: ValidationMetric
) -> list[StrategySearch]:
    """The search of each space; defaults and validation labels are checked before anything runs.

    Raises:
        ConfigError: a setting that a space searches itself, a default that is not the config's, no validation labels.
    """
    known: dict[str, tuple[str, int]] = {}  # by data and split: fingerprint, number of validation labels
    searches = []
    for space in spaces:
        _refuse_clashes(space, settings)
        plain = composer.compose([*space.strategy, *settings])
        check_defaults(space, plain)
        key = canonical_json([plain.config[name] for name in ("data", "regime", "trial", "selection")])
        if key not in known:
            source = plain.load_data()
            split = draw_split(source, plain.build().regime, plain.trial)
            require_validation_labels(plain, split.view)
            known[key] = source.identity, split.view.sizes.validation
        fingerprint, labels = known[key]
        searched = {"strategy": space.strategy, "space": [_distribution(one) for one in space.dimensions]}
        text = json.dumps([plain.run_hash(fingerprint), searched, metric.name], sort_keys=True)
        name = f"{space.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        outputs = plain.paths.outputs
        searches.append(
            StrategySearch(name, space, tuple(settings), labels, plain.trial, outputs, composer, fingerprint)
        )
    return searches


def _distribution(one: Dimension) -> tuple[Any, ...]:
    return one.key, one.kind, one.values, *([one.unless] if one.unless else [])


def _refuse_clashes(space: SearchSpace, settings: Sequence[str]) -> None:
    searched = sorted(dotted_key(one.key) for one in space.dimensions)
    fixed = {dotted_key(word) for word in space.strategy} | {"study", "row", "tuned"}
    for word in settings:
        key = dotted_key(word)
        inside = (own for own in searched if f"{key}.".startswith(f"{own}.") or own.startswith(f"{key}."))
        clash = key if key in fixed or key.startswith("tuned.") else next(inside, None)
        if clash is not None:
            raise ConfigError(f"{word}: space {space.name} sets {clash} itself; leave it out, or write a space")

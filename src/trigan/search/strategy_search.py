"""One strategy of a search: its space under the user's settings, what a point of it runs, and where things lie."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trigan.config.compose import Composer, RunConfig
from trigan.config.settings import UNHASHED_KEYS
from trigan.errors import ConfigError
from trigan.identity import canonical_json
from trigan.runs.validation_run import VALIDATION_CURVE_NAME, require_validation_labels, validation_record_path
from trigan.search.metric import ValidationMetric
from trigan.search.space import SearchSpace, Value, check_defaults


@dataclass(frozen=True)
class StrategySearch:
    """A space with the user's settings.

    Attributes:
        name: of the search: the space's, and a hash of all that its results depend on.
        settings: the user's own, for all trials.
        validation_labels: validation labels that a trial is judged by.
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
        """Where the journal, the logs and the results of the search lie."""
        return self.outputs / "search" / self.name

    def compose(self, point: Mapping[str, Value]) -> RunConfig:
        """The run of a point.

        Raises:
            ConfigError: its settings make no sense together.
        """
        return self.composer.compose(self.trial_overrides(point))

    def trial_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """What follows ``trigan run`` for a point; trials tell no logger unless the user names one."""
        logger = [] if any(_key(word) == "logger" for word in self.settings) else ["logger=none"]
        return [*self.space.strategy, *logger, *self.settings, *self.space.overrides(point)]

    def best_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """The settings that a run of a point needs, without those that only say where and how."""
        kept = [word for word in self.settings if _key(word).split(".")[0] not in UNHASHED_KEYS]
        return [*self.space.strategy, *kept, *self.space.overrides(point)]

    def run_hash(self, composed: RunConfig) -> str:
        return composed.run_hash(self.fingerprint)

    def record_path(self, run: str) -> Path:
        """Where the validation-only run of a hash ends."""
        return validation_record_path(self.outputs, run)

    def validation_curve(self, run: str) -> Path:
        """What the validation-only run of a hash says of its looks at the validation images."""
        return self.record_path(run).with_name(VALIDATION_CURVE_NAME)


def strategy_searches(
    composer: Composer, spaces: Sequence[SearchSpace], settings: Sequence[str], metric: ValidationMetric
) -> list[StrategySearch]:
    """A target for each space, with its default composed, and validation labels found, before anything runs.

    Raises:
        ConfigError: a setting that a space searches itself, a default that is not the config's, no validation labels.
    """
    fingerprints: dict[str, tuple[str, int]] = {}
    return [_target(composer, space, settings, metric, fingerprints) for space in spaces]


def _target(
    composer: Composer,
    space: SearchSpace,
    settings: Sequence[str],
    metric: ValidationMetric,
    known: dict[str, tuple[str, int]],
) -> StrategySearch:
    _refuse_clashes(space, settings)
    plain = composer.compose([*space.strategy, *settings])
    check_defaults(space, plain.config, plain.choices)
    key = canonical_json([plain.config[name] for name in ("data", "regime", "trial", "selection")])
    if key not in known:
        known[key] = _validation(plain)
    fingerprint, labels = known[key]
    run = plain.run_hash(fingerprint)
    text = json.dumps([run, space.as_dict(), metric.name], sort_keys=True)
    name = f"{space.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return StrategySearch(name, space, tuple(settings), labels, plain.trial, plain.paths.outputs, composer, fingerprint)


def _validation(composed: RunConfig) -> tuple[str, int]:
    """The fingerprint of the data, and how many validation labels the regime leaves."""
    from trigan.data.splits.make_split import make_split

    source = composed.load_data()
    drawn = make_split(source, composed.build().regime, composed.trial)
    require_validation_labels(composed, drawn)
    assert drawn.view.validation is not None
    return source.fingerprint, len(drawn.view.validation.labels)


def _refuse_clashes(space: SearchSpace, settings: Sequence[str]) -> None:
    searched = sorted(one.key.replace("/", ".") for one in space.dimensions)
    fixed = {_key(word) for word in space.strategy} | {"study", "row", "tuned"}
    for word in settings:
        key = _key(word)
        inside = (own for own in searched if f"{key}.".startswith(f"{own}.") or own.startswith(f"{key}."))
        clash = key if key in fixed or key.startswith("tuned.") else next(inside, None)
        if clash is not None:
            raise ConfigError(f"{word}: space {space.name} sets {clash} itself; leave it out, or write a space")


def _key(word: str) -> str:
    return word.partition("=")[0].replace("/", ".")

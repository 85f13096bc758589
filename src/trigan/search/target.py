"""One strategy of a search: its space under the user's settings, what a point of it runs, and where things lie."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trigan.config.compose import Composed, Composer
from trigan.config.settings import OBSERVERS
from trigan.errors import ConfigError
from trigan.identity import canonical
from trigan.runs.validation_run import LOOKS, refuse_without_validation, sealed_record
from trigan.search.metric import Metric
from trigan.search.space import Space, Value, check_defaults


@dataclass(frozen=True)
class Target:
    """A space with the user's settings.

    Attributes:
        name: of the search: the space's, and a hash of all that its results depend on.
        settings: the user's own, for all trials.
        labels: validation labels that a trial is judged by.
        outputs: ``paths.outputs``.
    """

    name: str
    space: Space
    settings: tuple[str, ...]
    labels: int
    trial: int
    outputs: Path
    composer: Composer = field(repr=False)
    fingerprint: str = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where the journal, the logs and the results of the search lie."""
        return self.outputs / "search" / self.name

    def compose(self, point: Mapping[str, Value]) -> Composed:
        """The run of a point.

        Raises:
            ConfigError: its settings make no sense together.
        """
        return self.composer.compose(self.words(point))

    def words(self, point: Mapping[str, Value]) -> list[str]:
        """What follows ``trigan run`` for a point; trials tell no logger unless the user names one."""
        logger = [] if any(_key(word) == "logger" for word in self.settings) else ["logger=none"]
        return [*self.space.strategy, *logger, *self.settings, *self.space.words(point)]

    def found(self, point: Mapping[str, Value]) -> list[str]:
        """The settings that a run of a point needs, without those that only say where and how."""
        kept = [word for word in self.settings if _key(word).split(".")[0] not in OBSERVERS]
        return [*self.space.strategy, *kept, *self.space.words(point)]

    def run_hash(self, composed: Composed) -> str:
        return composed.run_hash(self.fingerprint)

    def record(self, run: str) -> Path:
        """Where the sealed run of a hash ends."""
        return sealed_record(self.outputs, run)

    def looks(self, run: str) -> Path:
        """What the sealed run of a hash says of its looks at the validation images."""
        return self.record(run).with_name(LOOKS)


def targets(composer: Composer, spaces: Sequence[Space], settings: Sequence[str], metric: Metric) -> list[Target]:
    """A target for each space, with its default composed, and validation labels found, before anything runs.

    Raises:
        ConfigError: a setting that a space searches itself, a default that is not the config's, no validation labels.
    """
    fingerprints: dict[str, tuple[str, int]] = {}
    return [_target(composer, space, settings, metric, fingerprints) for space in spaces]


def _target(
    composer: Composer, space: Space, settings: Sequence[str], metric: Metric, known: dict[str, tuple[str, int]]
) -> Target:
    _refuse_clashes(space, settings)
    plain = composer.compose([*space.strategy, *settings])
    check_defaults(space, plain.config, plain.choices)
    key = canonical([plain.config[name] for name in ("data", "regime", "trial", "selection")])
    if key not in known:
        known[key] = _validation(plain)
    fingerprint, labels = known[key]
    run = plain.run_hash(fingerprint)
    text = json.dumps([run, space.described(), metric.name], sort_keys=True)
    name = f"{space.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return Target(name, space, tuple(settings), labels, plain.trial, plain.paths.outputs, composer, fingerprint)


def _validation(composed: Composed) -> tuple[str, int]:
    """The fingerprint of the data, and how many validation labels the regime leaves."""
    from trigan.data.splits.draw import draw

    source = composed.load_data()
    drawn = draw(source, composed.build().regime, composed.trial)
    refuse_without_validation(composed, drawn)
    assert drawn.view.validation is not None
    return source.fingerprint, len(drawn.view.validation.labels)


def _refuse_clashes(space: Space, settings: Sequence[str]) -> None:
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

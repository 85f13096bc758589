"""A study whose rows are all tuned alike: the same number of search trials for every row and column.

All searches use the split of the study's first trial; records of its other trials have the stamp
``tuned-on-another-trial``. What a row, its column, the study or the user sets is not searched: it is what defines the
row. A row with matched compute takes the settings of the search of its own settings at their usual length.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trigan.config.compose import Composer, RunConfig
from trigan.config.override_rules import hydra_literal
from trigan.config.settings_file import dotted_key
from trigan.errors import ConfigError, TriganError
from trigan.search.metric import parse_metric
from trigan.search.run_search import run_searches
from trigan.search.search_results import SearchResult
from trigan.search.space import Dimension, SearchSpace, find_space, list_spaces, values_of
from trigan.search.strategy_search import StrategySearch, strategy_searches
from trigan.search.trial_accounting import Budget
from trigan.search.worker import SearchSettings
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import GridEntry, StudyFile
from trigan.studies.tuned_settings import write_tuned

_log = logging.getLogger("trigan")


def tune_study(
    study: StudyFile,
    overrides: Sequence[str],
    trials: int,
    *,
    workers: int | None = None,
    timeout: int | None = None,
    config_dir: Path | None = None,
) -> StudyFile:
    """Search ``trials`` settings for every row and column, and return the study with the best of each.

    The same call continues an interrupted search, and runs nothing of a finished one. ``timeout``: minutes of a trial.

    Raises:
        ConfigError: a row has no search space, or a regime no validation labels; then nothing has run.
        TriganError: no trial of some row has finished.
        Interrupted: Ctrl-C or SIGTERM; the same call continues.
    """
    composer = Composer(config_dir)
    plan = StudyPlan(composer, study, overrides)
    searches: dict[tuple[str, str], tuple[StrategySearch, tuple[str, ...]]] = {}
    for row in study.rows:
        for column in study.columns:
            try:
                searches[row.name, column.name] = _row_search(composer, plan, study, row, column, config_dir)
            except ConfigError as error:
                raise ConfigError(f"--tuned: row {row.name!r}, column {column.name!r}: {error}") from error
    different = list({search.name: search for search, _ in searches.values()}.values())
    seconds = timeout and 60.0 * timeout
    metric = parse_metric("accuracy")
    settings = SearchSettings(Budget(trials), metric, slots=workers, timeout=seconds, config_dir=config_dir)
    results = {result.search.name: result for result in run_searches(different, settings)}
    tuned: dict[str, dict[str, tuple[str, ...]]] = {}
    for (row_name, column_name), (search, made) in searches.items():
        chosen = _settings(results[search.name], trials, row_name, column_name)
        tuned.setdefault(row_name, {})[column_name] = (*made, *chosen)
    return write_tuned(study, overrides, config_dir, trials, tuned)


def _settings(result: SearchResult, trials: int, row: str, column: str) -> tuple[str, ...]:
    if (count := result.counts.total()) != trials:
        raise ConfigError(
            f"--tuned {trials}: search {result.search.name} has had {count} trials before; give --tuned {count}, or "
            "another paths.outputs"
        )
    if result.value is None:
        raise TriganError(f"--tuned: row {row!r}, column {column!r}: {result.lines()[0]}")
    return (*result.settings, *result.tuned)


def _row_search(
    composer: Composer, plan: StudyPlan, study: StudyFile, row: GridEntry, column: GridEntry, config_dir: Path | None
) -> tuple[StrategySearch, tuple[str, ...]]:
    """The search of a row in a column, and the choices of its space that the row leaves to a default."""
    given = plan.applicable(row, column)
    overridden = {dotted_key(word) for word in given}
    words = (*study.fixed, *column.set, *row.set, f"trial={study.trials[0]}")
    own = tuple(word for word in words if dotted_key(word) not in overridden)
    space = row_space(composer, [*own, *given], config_dir)
    full = replace(space, strategy=(*own, *space.strategy))
    return strategy_searches(composer, [full], given, parse_metric("accuracy"))[0], space.strategy


def row_space(composer: Composer, words: Sequence[str], config_dir: Path | None = None) -> SearchSpace:
    """The space with the most choices of its own that all hold for a run, without the dimensions that ``words`` set.

    A choice also holds for another one of the same class, ``strategy/objective=pseudo_label`` for ``ec_gan``, unless a
    space has the run's own. What the run does not have, what has no effect in it, and terms that it switches off (0 in
    a logarithmic range) are left out. Defaults are the run's own values, so the first search trial is the row itself.
    ``strategy`` has only those choices that the words leave to a default: ``strategy/objective=feature_matching`` where
    ``auto`` means that.

    Raises:
        ConfigError: no space fits, nothing is left to search, or a value of the run lies outside of the space.
    """
    composed, fitting = composer.compose(words), list[tuple[SearchSpace, tuple[str, ...]]]()
    for name in list_spaces(config_dir):
        found = find_space(name, config_dir)
        if (more := _missing_choices(composer, composed, words, found)) is not None:
            fitting.append((found, more))
    if not fitting:
        raise ConfigError(
            "no search space fits its strategy; write DIR/search/NAME.yaml with the row's choices under `strategy`, "
            "and give --config-dir DIR"
        )
    given = [dotted_key(word) for word in words]

    def is_free(one: Dimension) -> bool:
        return not any(f"{word}.".startswith(f"{dotted_key(one.key)}.") for word in given)

    def exact(space: SearchSpace) -> int:
        choices = (word.split("=", 1) for word in space.strategy)
        return sum(composed.choices.get(dotted_key(key).replace(".", "/")) == choice for key, choice in choices)

    def rank(one: tuple[SearchSpace, tuple[str, ...]]) -> tuple[int, int, int]:
        return len(one[0].strategy), exact(one[0]), sum(map(is_free, one[0].dimensions))

    space, more = max(fitting, key=rank)
    values = values_of(space, composer.compose([*words, *more]))
    set_by_row = {one.key: values[one.key] for one in space.dimensions if one.key in values and not is_free(one)}
    free = (one for one in space.dimensions if one.key in values and is_free(one) and one.applies(set_by_row))
    own = (replace(one, default=values[one.key]) for one in free)
    found = SearchSpace(space.name, more, tuple(one for one in own if one.default or not one.kind.startswith("log")))
    unused = composer.compose([*words, *more, *found.overrides(found.default_point)]).unused
    found = replace(found, dimensions=tuple(one for one in found.dimensions if one.key not in unused))
    if not found.dimensions:
        raise ConfigError(f"it sets all that space {space.name} searches, so there is nothing to tune")
    for one in found.dimensions:
        if not one.contains(one.default):
            raise ConfigError(
                f"{one.key}={hydra_literal(one.default)} lies outside {one.kind} {list(one.values)} of space "
                f"{space.name}; set it in the row, or copy the space to DIR/search and widen it there"
            )
    return found


def _missing_choices(
    composer: Composer, composed: RunConfig, words: Sequence[str], space: SearchSpace
) -> tuple[str, ...] | None:
    """The choices of a space that ``words`` do not make; None if they would change the strategy of the run."""
    given: Mapping[str, str] = {dotted_key(word): word.partition("=")[2] for word in words}
    choices = {dotted_key(word): word for word in space.strategy}
    for key, word in choices.items():
        name = word.partition("=")[2]
        if given.get(key, name) != name and composer.target(key, given[key]) != composer.target(key, name):
            return None
    more = tuple(word for key, word in choices.items() if key not in given)
    if "strategy" not in given and space.strategy and f"strategy={composed.choices.get('strategy')}" not in more:
        return None
    try:
        other = composer.compose([*words, *more]) if more else composed
    except ConfigError:
        return None
    return more if other is composed or other.build().strategy == composed.build().strategy else None

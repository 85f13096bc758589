"""Running a search: this process is one of its workers, and writes what was found so far when it ends."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from trigan.config.compose import Composer
from trigan.errors import ConfigError
from trigan.execution.pool import LocalEngine
from trigan.search.search_results import SearchResult, write_search_results
from trigan.search.space import find_space, list_spaces
from trigan.search.storage import explain_storage_loss, open_storage, open_study
from trigan.search.strategy_search import StrategySearch, strategy_searches
from trigan.search.trial_accounting import DEFAULT, ENQUEUED_AS
from trigan.search.worker import SearchSettings, Worker
from trigan.search.worker_lock import WorkerLock

_log = logging.getLogger("trigan")


def run_search(spaces: Sequence[str], overrides: Sequence[str], settings: SearchSettings) -> list[SearchResult]:
    """Search the settings of strategies on validation labels, until the budget of the whole search is spent.

    The same call in another process that can reach the storage is one more worker.

    Args:
        spaces: names of search spaces, or paths of their files; each gets the same number of trials.
        overrides: settings for all trials.
        settings: how trials are chosen and run, and where they are kept.

    Returns:
        The outcome for each space.

    Raises:
        ConfigError: a space or a setting is not valid; then nothing has run.
        Interrupted: Ctrl-C or SIGTERM; the same call continues.
    """
    metric, config_dir = settings.metric, settings.config_dir
    if not spaces:
        raise ConfigError(f"SPACE is missing; there are {', '.join(list_spaces(config_dir))}")
    if len(set(spaces)) < len(spaces):
        raise ConfigError(f"{' '.join(spaces)}: a space is named twice")
    known = [find_space(name, config_dir) for name in spaces]
    return run_searches(strategy_searches(Composer(config_dir), known, overrides, metric), settings)


def run_searches(searches: Sequence[StrategySearch], settings: SearchSettings) -> list[SearchResult]:
    """Run searches as one, each with the same number of trials; as `run_search`."""
    metric = settings.metric
    with ExitStack() as stack:
        stack.enter_context(explain_storage_loss(settings.storage))
        engine = stack.enter_context(LocalEngine(settings.slots))
        books = [(one, open_study(open_storage(settings.storage, one.folder), one.name, metric)) for one in searches]
        for search, study in books:
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(search.space.default_point, user_attrs={ENQUEUED_AS: DEFAULT})
        lock = stack.enter_context(WorkerLock(searches[0].outputs / "search" / "workers"))
        worker = Worker(books, settings, engine.launcher, lock)
        _log.info("%s", _opening(searches, settings, worker.slots))
        try:
            worker.run()
        except BaseException:
            for search, study in books:
                for line in write_search_results(search, study, metric, settings.sampler).lines():
                    _log.info("%s", line)
            raise
        return [write_search_results(search, study, metric, settings.sampler) for search, study in books]


def _opening(searches: Sequence[StrategySearch], settings: SearchSettings, slots: int) -> str:
    names = ", ".join(search.name for search in searches)
    labels = " and ".join(sorted({str(search.validation_labels) for search in searches}))
    same = "; every strategy gets the same number of trials" if len(searches) > 1 else ""
    return (
        f"search {names}: {settings.budget}, by {settings.metric.name} on {labels} validation labels{same}; "
        f"{slots} at a time here; the test set stays sealed"
    )

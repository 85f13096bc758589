"""``trigan search SPACE ... [settings] --trials N``: settings chosen on validation labels, by any number of workers."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from trigan.commands.arguments import Parser, positive_float, positive_int
from trigan.errors import ConfigError
from trigan.search.metric import VALIDATION_METRICS, ValidationMetric, parse_metric
from trigan.search.trial_accounting import DEFAULT, ENQUEUED_AS, Budget


def main(arguments: list[str]) -> int:
    """Search, and leave what was found; 0 when every strategy has a best trial."""
    options = _parser().parse_intermixed_args(arguments)
    names = [word for word in options.words if "=" not in word]
    settings = [word for word in options.words if "=" in word]
    budget, chosen = _budget(options), parse_metric(options.metric)
    if options.prune and not chosen.has_validation_curve:
        raise ConfigError(f"--prune: a run's looks along the way tell the accuracy, not {chosen.name}")
    from trigan.search.space import find_space, list_spaces
    from trigan.search.storage import require_optuna

    if not names:
        raise ConfigError(f"SPACE is missing; there are {', '.join(list_spaces(options.config_dir))}")
    if len(set(names)) < len(names):
        raise ConfigError(f"{' '.join(names)}: a space is named twice")
    require_optuna()
    return _search([find_space(name, options.config_dir) for name in names], settings, budget, chosen, options)


def _search(found: Sequence[Any], settings: list[str], budget: Budget, chosen: ValidationMetric, options: Any) -> int:
    from trigan.config.compose import Composer
    from trigan.execution.local_engine import LocalEngine
    from trigan.execution.pool import cores
    from trigan.search.search_results import worker_lock_folder, write_search_results
    from trigan.search.storage import explain_storage_loss, open_storage, open_study
    from trigan.search.strategy_search import strategy_searches
    from trigan.search.trial_progress import SearchReporter
    from trigan.search.worker import SearchSettings, Worker
    from trigan.search.worker_lock import WorkerLock

    slots = min(options.workers or cores(), cores())
    extra = ("--config-dir", str(options.config_dir.absolute())) if options.config_dir else ()
    with ExitStack() as stack:
        stack.enter_context(explain_storage_loss(options.storage))
        engine = stack.enter_context(LocalEngine(slots, options.timeout))
        aims = strategy_searches(Composer(options.config_dir), found, settings, chosen)
        studies = [open_study(open_storage(options.storage, aim.folder), aim.name, chosen) for aim in aims]
        for aim, study in zip(aims, studies, strict=True):
            if not study.get_trials(deepcopy=False):
                study.enqueue_trial(aim.space.default_point, user_attrs={ENQUEUED_AS: DEFAULT})
        prune = chosen.has_validation_curve if options.prune is None else options.prune
        rules = SearchSettings(budget, chosen, options.sampler, options.seed, prune, slots, engine.seconds, extra)
        reporter = SearchReporter(budget, chosen)
        reporter.log(_opening(aims, budget, chosen, slots))
        worker_lock = stack.enter_context(WorkerLock(worker_lock_folder(aims)))
        books = list(zip(aims, studies, strict=True))
        try:
            Worker(books, rules, engine.launcher, reporter, worker_lock).run()
        finally:
            complete = [write_search_results(aim, study, chosen, options.sampler) for aim, study in books]
    return 0 if all(complete) else 1


def _opening(aims: Sequence[Any], budget: Budget, chosen: ValidationMetric, slots: int) -> str:
    names = ", ".join(aim.name for aim in aims)
    same = "; every strategy gets the same number of trials" if len(aims) > 1 else ""
    labels = " and ".join(sorted({str(aim.validation_labels) for aim in aims}))
    return (
        f"search {names}: {budget}, by {chosen.name} on {labels} validation labels{same}; {slots} at a time here; "
        "the test set stays sealed"
    )


def _budget(options: Any) -> Budget:
    if options.trials is None and options.hours is None and options.flops is None:
        raise ConfigError("the budget is missing: --trials N, --hours H or --flops F")
    return Budget(options.trials, options.hours, options.flops)


def _whole(text: str) -> int:
    """An argparse type: a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected an int >= 0")
    return int(text)


def _parser() -> Parser:
    parser = Parser(
        prog="trigan search",
        usage="trigan search SPACE [SPACE ...] [setting=value ...] --trials N [options]",
        description="Search the settings of strategies on counted validation labels, with the test set sealed.",
        epilog="The same command again, here or on another machine that sees the storage, is one more worker: the "
        "budget is the whole search's. Several spaces get the same number of trials. A space is a file of conf/search, "
        "or of search/ in --config-dir.",
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="SPACE", help="a space, or a setting for all trials")
    parser.add_argument("--trials", type=positive_int, metavar="N", help="budget: trials of each strategy")
    parser.add_argument("--hours", type=positive_float, metavar="H", help="budget: hours that all trials take together")
    parser.add_argument("--flops", type=positive_float, metavar="F", help="budget: counted operations of all trials")
    parser.add_argument("--workers", type=positive_int, help="trials at a time, here (default: one per core)")
    parser.add_argument("--timeout", type=positive_int, metavar="MINUTES", help="end a trial that takes longer")
    parser.add_argument("--sampler", choices=("random", "tpe"), default="tpe")
    parser.add_argument("--seed", type=_whole, default=0, help="of the sampler (default: 0)")
    parser.add_argument(
        "--prune", action=argparse.BooleanOptionalAction, help="end hopeless trials early (default: with accuracy)"
    )
    parser.add_argument("--metric", default="accuracy", help=f"a validation score: {', '.join(VALIDATION_METRICS)}")
    parser.add_argument(
        "--storage", metavar="FILE|URL", help="a journal, or a database as postgresql+psycopg://USER@HOST/NAME"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own, and search/NAME.yaml")
    return parser

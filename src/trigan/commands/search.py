"""``trigan search`` and ``trigan wandb-sweep``: settings chosen on validation labels, by any number of workers."""

import argparse
import shlex
from importlib.util import find_spec

from trigan.commands.arguments import command_parser, natural_int, positive_float, positive_int
from trigan.errors import ConfigError
from trigan.execution.progress import Heartbeat
from trigan.scores import METRICS
from trigan.search.metric import parse_metric
from trigan.search.trial_accounting import Budget


def main(arguments: list[str]) -> int:
    """Search, and print the best settings; 0 when every strategy has a finished trial."""
    parser = command_parser(
        "search",
        "Search the settings of strategies on counted validation labels, with the test set sealed.",
        "The same command again, here or on another machine that can reach the storage, is one more worker: the "
        "budget is the whole search's. Several spaces get the same number of trials. A space is a file of conf/search, "
        "or of search/ in --config-dir.",
        usage="trigan search SPACE [SPACE ...] [setting=value ...] --trials N [options]",
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="SPACE", help="a space, or a setting for all trials")
    add("--trials", type=positive_int, metavar="N", help="budget: trials of each strategy")
    add("--hours", type=positive_float, metavar="H", help="budget: hours that all trials take together")
    add("--flops", type=positive_float, metavar="F", help="budget: counted operations of all trials")
    add("--workers", type=positive_int, help="trials at a time, here (default: one per core)")
    add("--timeout", type=positive_int, metavar="MINUTES", help="end a trial that takes longer")
    add("--sampler", choices=("random", "tpe"), default="tpe")
    add("--seed", type=natural_int, default=0, help="of the sampler (default: 0)")
    prune_help = "end hopeless trials early (default: with accuracy)"
    add("--prune", action=argparse.BooleanOptionalAction, help=prune_help)
    add("--metric", default="accuracy", help=f"a validation score: {', '.join(METRICS)}")
    storage_help = "a journal, or a database as postgresql+psycopg://USER@HOST/NAME"
    add("--storage", metavar="FILE|URL", help=storage_help)
    options = parser.parse_intermixed_args(arguments)
    names, settings = _names_and_settings(options.words)
    if options.trials is None and options.hours is None and options.flops is None:
        raise ConfigError("the budget is missing: --trials N, --hours H or --flops F")
    metric = parse_metric(options.metric)
    if options.prune and not metric.has_validation_curve:
        raise ConfigError(f"--prune: a run's validations during training give the accuracy, not {metric.name}")
    if find_spec("optuna") is None:
        raise ConfigError("trigan search needs optuna: pip install 'trigan[search]'")
    from trigan.config.compose import Composer
    from trigan.search.space import find_space

    composer = Composer(options.config_dir)
    for name in names:
        composer.check([*find_space(name, options.config_dir).strategy, *settings])
    from trigan.search.run_search import run_search
    from trigan.search.worker import SearchSettings

    how = SearchSettings(
        budget=Budget(options.trials, options.hours, options.flops),
        metric=metric,
        sampler=options.sampler,
        seed=options.seed,
        prune=metric.has_validation_curve if options.prune is None else options.prune,
        slots=options.workers,
        timeout=options.timeout and 60.0 * options.timeout,
        storage=options.storage,
        config_dir=options.config_dir,
    )
    with Heartbeat():
        results = run_search(names, settings, how)
    print("\n".join(line for result in results for line in result.lines()))
    return 0 if all(result.value is not None for result in results) else 1


def wandb_sweep_main(arguments: list[str]) -> int:
    """Write the sweep's YAML; register it where a login exists, else print how."""
    parser = command_parser(
        "wandb-sweep",
        "A search space as a W&B sweep: write its YAML, and register it where you are logged in.",
        "W&B chooses the points, the first one too: it may never try the default.",
        usage="trigan wandb-sweep SPACE [setting=value ...] [options]",
    )
    words_help = "a space (see `trigan search --help`), and settings for all runs"
    parser.add_argument("words", nargs="*", metavar="SPACE", help=words_help)
    parser.add_argument("--method", choices=("bayes", "random", "grid"), default="bayes")
    parser.add_argument("--metric", default="accuracy", help=f"a validation score: {', '.join(METRICS)}")
    parser.add_argument("--trials", type=positive_int, metavar="N", help="runs after which the sweep ends")
    options = parser.parse_intermixed_args(arguments)
    names, settings = _names_and_settings(options.words)
    if len(names) != 1:
        raise ConfigError(f"{' '.join(names) or 'SPACE is missing'}: one space is one sweep; settings are key=value")
    from trigan.search.sweep import write_sweep
    from trigan.tracking.wandb_tracking import register_sweep

    spec, path = write_sweep(
        names[0],
        settings,
        parse_metric(options.metric),
        method=options.method,
        trials=options.trials,
        config_dir=options.config_dir,
    )
    print(path)
    sweep = register_sweep(spec)
    if sweep is None:
        project = ["--project", spec["project"], *(["--entity", spec["entity"]] if "entity" in spec else [])]
        print(f"you are not logged in to W&B; then: {shlex.join(['wandb', 'sweep', *project, str(path)])}")
        print("it prints the sweep's id")
    print(f"on every machine that takes part: wandb agent {sweep or 'ENTITY/PROJECT/ID'}")
    return 0


def _names_and_settings(words: list[str]) -> tuple[list[str], list[str]]:
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]

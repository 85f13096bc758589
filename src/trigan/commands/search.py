"""``trigan search`` and ``trigan wandb-sweep``: settings chosen on validation labels, by any number of workers."""

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path

from trigan.commands.arguments import Parser, natural_int, positive_float, positive_int
from trigan.errors import ConfigError
from trigan.search.metric import VALIDATION_METRICS, parse_metric
from trigan.search.trial_accounting import Budget


def main(arguments: list[str]) -> int:
    """Search, and print the best settings; 0 when every strategy has a finished trial."""
    options = _search_parser().parse_intermixed_args(arguments)
    names, settings = _names_and_settings(options.words)
    if options.trials is None and options.hours is None and options.flops is None:
        raise ConfigError("the budget is missing: --trials N, --hours H or --flops F")
    metric = parse_metric(options.metric)
    if options.prune and not metric.has_validation_curve:
        raise ConfigError(f"--prune: a run's validations during training give the accuracy, not {metric.name}")
    if find_spec("optuna") is None:
        raise ConfigError("trigan search needs optuna: pip install 'trigan[search]'")
    from trigan.execution.pool import cores
    from trigan.search.run_search import run_search
    from trigan.search.worker import SearchSettings

    how = SearchSettings(
        budget=Budget(options.trials, options.hours, options.flops),
        metric=metric,
        sampler=options.sampler,
        seed=options.seed,
        prune=metric.has_validation_curve if options.prune is None else options.prune,
        slots=min(options.workers or cores(), cores()),
        timeout=options.timeout and 60.0 * options.timeout,
    )
    results = run_search(names, settings, how, storage=options.storage, config_dir=options.config_dir)
    print("\n".join(line for result in results for line in result.lines()))
    return 0 if all(result.value is not None for result in results) else 1


def wandb_sweep_main(arguments: list[str]) -> int:
    """Write the sweep's YAML; register it where a login exists, else print how."""
    options = _sweep_parser().parse_intermixed_args(arguments)
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


def _search_parser() -> Parser:
    parser = Parser(
        prog="trigan search",
        usage="trigan search SPACE [SPACE ...] [setting=value ...] --trials N [options]",
        description="Search the settings of strategies on counted validation labels, with the test set sealed.",
        epilog="The same command again, here or on another machine that can reach the storage, is one more worker: the "
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
    parser.add_argument("--seed", type=natural_int, default=0, help="of the sampler (default: 0)")
    parser.add_argument(
        "--prune", action=argparse.BooleanOptionalAction, help="end hopeless trials early (default: with accuracy)"
    )
    parser.add_argument("--metric", default="accuracy", help=f"a validation score: {', '.join(VALIDATION_METRICS)}")
    parser.add_argument(
        "--storage", metavar="FILE|URL", help="a journal, or a database as postgresql+psycopg://USER@HOST/NAME"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own, and search/NAME.yaml")
    return parser


def _sweep_parser() -> Parser:
    parser = Parser(
        prog="trigan wandb-sweep",
        usage="trigan wandb-sweep SPACE [setting=value ...] [options]",
        description="A search space as a W&B sweep: write its YAML, and register it where you are logged in.",
        epilog="W&B chooses the points, the first one too: it may never try the default.",
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="SPACE", help="a space of conf/search, and settings for all runs")
    parser.add_argument("--method", choices=("bayes", "random", "grid"), default="bayes")
    parser.add_argument("--metric", default="accuracy", help=f"a validation score: {', '.join(VALIDATION_METRICS)}")
    parser.add_argument("--trials", type=positive_int, metavar="N", help="runs after which the sweep ends")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own, and search/NAME.yaml")
    return parser

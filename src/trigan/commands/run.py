"""``trigan run``: one run, several runs with ``-m``, or the composed configuration."""

import argparse
import os
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from trigan.commands.arguments import Parser, help_text, positive_int
from trigan.config.compose import Composer
from trigan.config.help import INFO, config_text, run_help
from trigan.config.settings_file import merge_settings
from trigan.errors import ConfigError, DivergedError
from trigan.execution import ranks
from trigan.execution.engines import EngineChoice, split
from trigan.execution.job import BATCH_VARIABLE, run_options
from trigan.records.record import RECORD_NAME, read_record
from trigan.runs.run_words import RankFailedError, is_rank_of, run_words


def main(arguments: list[str]) -> int:
    """Run what the arguments describe and return the exit code."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    words = merge_settings(options.settings, options.overrides) if options.settings else options.overrides
    engine, words = split(words) if options.multirun else (EngineChoice(), words)
    if options.help:
        parser.description = run_help(Composer(options.config_dir), words)
        print(parser.format_help())
        return 0
    if options.cfg or options.info:
        composer = Composer(options.config_dir)
        text = config_text(composer, words, options.cfg, options.package, options.resolve, options.info)
        print(text, end="", flush=True)  # as one piece, for a reader that closes the pipe early
        return 0
    if options.multirun:
        if options.validation_only:
            raise ConfigError("--validation-only: applies to one run; for several and the best of them: trigan search")
        return _multirun(Composer(options.config_dir, check_devices=engine.local), words, engine, options)
    for option in ("workers", "timeout"):
        if getattr(options, option) is not None:
            raise ConfigError(f"--{option}: applies only with --multirun; this is one run")
    if options.retry:
        raise ConfigError("--retry: applies only with --multirun; a single run is tried again whenever it is called")
    try:
        directory = run_words(
            words, force=options.force, validation_only=options.validation_only, config_dir=options.config_dir
        )
    except RankFailedError as error:
        return error.exit_code
    is_rank = "RANK" in os.environ and is_rank_of(words, options.config_dir)
    if not is_rank or (os.environ["RANK"] == "0" and ranks.PARENT_VARIABLE not in os.environ):
        _show(directory, options.validation_only)
    return 0 if is_rank else _tell_divergence(directory, options.validation_only)


def _show(directory: Path, validation_only: bool) -> None:
    """Print where the run is, and draw its pictures if somebody may look at them."""
    print(directory, flush=True)
    if not validation_only and BATCH_VARIABLE not in os.environ:
        resolve_name("trigan.reports.run_pictures:draw_missing_pictures")(directory)


def _tell_divergence(directory: Path, validation_only: bool) -> int:
    """Print which player diverged and when, as the last line; the exit code of a diverged run, or 0."""
    record: Any
    if validation_only:
        from trigan.runs.validation_run import VALIDATION_NAME, read_validation_record  # imports torch

        record = read_validation_record(directory / VALIDATION_NAME)
    else:
        record = read_record(directory / RECORD_NAME)
    result = record["result"]
    if result["status"] != "diverged":
        return 0
    fits = [f"{one.get('name', one['kind'])}: {one['diverged']}" for one in result["stages"] if "diverged" in one]
    print(f"trigan: the run diverged ({'; '.join(fits) or 'see its log'}); its record says so", file=sys.stderr)
    return DivergedError.exit_code


def _multirun(composer: Composer, words: list[str], engine: EngineChoice, options: argparse.Namespace) -> int:
    """Run the jobs and print accuracy, name and folder of each finished one; 1 if a job has no record."""
    from trigan.studies.multirun import multirun

    jobs, summary = multirun(
        composer,
        words,
        run_options(options.config_dir, force=options.force),
        engine_choice=engine,
        workers=options.workers,
        timeout=options.timeout,
        retry=options.retry,
        force=options.force,
    )
    for job in jobs:
        if job.finished and job.directory:
            result = read_record(job.directory / RECORD_NAME)["result"]
            told = "  (diverged)" if result["status"] == "diverged" else ""
            print(f"{100 * result['test']['accuracy']:6.2f} %  {job.name}  {job.directory}{told}")
    print(summary.line(), file=sys.stderr)
    return summary.code


def _parser() -> Parser:
    parser = Parser(
        prog="trigan run",
        usage="trigan run [options] [group=choice ...] [setting=value ...]",
        epilog=help_text("run"),
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("overrides", nargs="*", help=argparse.SUPPRESS)
    add("--help", "-h", action="store_true", help=argparse.SUPPRESS)
    cfg_help = "print the config instead of running"
    add("--cfg", "-c", choices=("job", "hydra", "all"), metavar="job|hydra|all", help=cfg_help)
    add("--resolve", action="store_true", help="with --cfg: fill in interpolations")
    add("--package", "-p", metavar="KEY", help="with --cfg: one node")
    info_help = f"where the config comes from: {', '.join(INFO)}"
    add("--info", "-i", nargs="?", const="all", choices=INFO, metavar="WHAT", help=info_help)
    add("--multirun", "-m", action="store_true", help="one run for each combination of a=1,2 b=x,y, each a process")
    add("--workers", type=positive_int, metavar="N", help="with -m: runs at a time (default: one per core)")
    add("--timeout", type=positive_int, metavar="MINUTES", help="with -m: stop a run that takes longer")
    add("--retry", action="store_true", help="with -m: also run again what failed in an earlier call")
    add("--force", action="store_true", help="compute again what is finished")
    add("--validation-only", action="store_true", help="end with validation scores and never open the test set")
    add("--settings", type=Path, metavar="FILE", help="settings from a search's best.yaml, below those written here")
    add("--config-dir", "-cd", type=Path, metavar="DIR", help="groups of your own, e.g. DIR/architecture/mine.yaml")
    add("--traceback", action="store_true", help="show Python's traceback of an error")
    return parser

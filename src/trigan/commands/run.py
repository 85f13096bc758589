"""``trigan run``: one run in this process, its ranks, several runs with ``-m``, or only a look at the config."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from trigan.commands.arguments import Parser, positive_int
from trigan.config import override_rules
from trigan.config.compose import CONFIG_NAME, Composer, resolve, unresolved
from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.execution.engines import EngineChoice, split

_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def main(arguments: list[str]) -> int:
    """Run what the arguments say and give the exit code."""
    options = _parser().parse_intermixed_args(arguments)
    if options.settings:
        from trigan.config.settings_file import merge_settings

        options.overrides = merge_settings(options.settings, options.overrides)
    options.engine, options.overrides = (
        split(options.overrides) if options.multirun else (EngineChoice(), options.overrides)
    )
    composer = Composer(options.config_dir, check_devices=options.engine.local)
    if options.help:
        from trigan.config.help import run_help

        print(run_help(composer))
        return 0
    if options.cfg or options.info:
        return _show(composer, options)
    if options.validation_only and options.multirun:
        raise ConfigError("--validation-only: goes with one run; several at once, and the best of them: trigan search")
    if options.multirun:
        return _multirun(composer, options)
    for option in ("workers", "timeout"):
        if getattr(options, option) is not None:
            raise ConfigError(f"--{option}: goes with --multirun; this is one run")
    if options.retry:
        raise ConfigError("--retry: goes with --multirun; a single run is tried again as often as it is called")
    return run_single(composer, options)


def run_single(composer: Composer, options: Any) -> int:
    """One run in this process, or on several devices one process per rank."""
    from trigan.execution import ranks

    overrides: list[str] = options.overrides
    cfg = unresolved(
        composer.load(composer.parse(overrides))
    )  # cheap: imports no target, so a typing error shows at once
    devices = cfg["trainer"].get("devices", 1) if isinstance(cfg.get("trainer"), dict) else 1
    if isinstance(devices, int) and devices > 1 and not ranks.is_rank():
        logs = Path(str(resolve(composer.load(composer.parse(overrides)))["paths"]["outputs"])) / "logs"
        return ranks.start(["run", *child_arguments(options), *overrides], devices, logs)
    # torch's thread pools read this when it is imported, which composing does
    os.environ.setdefault("OMP_NUM_THREADS", str(cfg["runtime"]["threads"]))
    composed = composer.compose(overrides)
    from trigan.runs.run import run

    directory = run(composed, options.force, options.validation_only)
    if not ranks.is_rank() or os.environ["RANK"] == "0":
        print(directory)
    return 0


def _multirun(composer: Composer, options: Any) -> int:
    """Run the jobs, and print accuracy, name and folder of each finished one; 1 if a job has no record."""
    from trigan.studies.multirun import job_accuracy, multirun

    jobs, summary = multirun(
        composer,
        options.overrides,
        child_arguments(options),
        engine_choice=options.engine,
        workers=options.workers,
        timeout=options.timeout,
        retry=options.retry,
        force=options.force,
    )
    for job in jobs:
        if (accuracy := job_accuracy(job)) is not None:
            print(f"{100 * accuracy:6.2f} %  {job.name}  {job.directory}")
    print(summary.line(), file=sys.stderr)
    return summary.code


def child_arguments(options: Any) -> list[str]:
    """The options that a job or rank needs from the command that starts it."""
    extra = ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []
    flags = [flag for flag in ("force", "validation_only") if getattr(options, flag)]
    return [*extra, *(f"--{flag.replace('_', '-')}" for flag in flags)]


def _parser() -> Parser:
    parser = Parser(prog="trigan run", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--validation-only", action="store_true")
    parser.add_argument("--settings", type=Path)
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--workers", type=positive_int)
    parser.add_argument("--timeout", type=positive_int)
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    return parser


def _show(composer: Composer, options: Any) -> int:
    """``--cfg`` and ``--info``: Hydra's own printing, after our checks of keys and choices."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    parsed = composer.parse(options.overrides)
    cfg = composer.load(parsed)
    words = composer.words(parsed)
    if options.package and OmegaConf.select(cfg, options.package, throw_on_missing=False) is None:
        keys = override_rules.dotted_keys(unresolved(cfg))
        raise ConfigError(f"--package {options.package}: no such node{nearest_hint(options.package, keys)}")
    page = io.StringIO()  # in one piece, for a reader that closes the pipe half-way
    try:
        with contextlib.redirect_stdout(page):
            if options.info:
                composer.hydra.show_info(options.info, CONFIG_NAME, words)
            else:
                composer.hydra.show_cfg(CONFIG_NAME, words, options.cfg, options.package, options.resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(override_rules.first_line(error)) from error
    print(page.getvalue(), end="", flush=True)
    return 0

"""``trigan wandb-sweep SPACE``: a search space as a W&B sweep; its agents run `trigan run --validation-only`."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from trigan.atomic import write_bytes
from trigan.commands.arguments import Parser, positive_int
from trigan.errors import ConfigError
from trigan.search.metric import VALIDATION_METRICS, ValidationMetric, parse_metric
from trigan.search.space import Dimension, find_space

#: Values of a range that a grid takes beside its default.
_STEPS = 4
_DISTRIBUTIONS = {"uniform": "uniform", "log_uniform": "log_uniform_values", "int": "int_uniform"}


def main(arguments: list[str]) -> int:
    """Write the sweep's YAML; register it where somebody is logged in, else say how."""
    options = _parser().parse_intermixed_args(arguments)
    names = [word for word in options.words if "=" not in word]
    if len(names) != 1:
        raise ConfigError(f"{' '.join(names) or 'SPACE is missing'}: one space is one sweep; settings are key=value")
    settings = [word for word in options.words if "=" in word]
    space, chosen = find_space(names[0], options.config_dir), parse_metric(options.metric)
    from trigan.config.compose import Composer
    from trigan.search.strategy_search import strategy_searches

    (target,) = strategy_searches(Composer(options.config_dir), [space], settings, chosen)
    logger = target.composer.compose([*space.strategy, *settings]).config["logger"]
    if not str(logger.get("_target_", "")).endswith(".WandbTracking"):
        raise ConfigError("logger: the runs of a sweep tell W&B how they did; take logger=wandb, or trigan search")
    extra = ["--config-dir", str(options.config_dir.absolute())] if options.config_dir else []
    spec = {
        "name": target.name,
        "program": "trigan",
        "project": logger["project"],
        **({"entity": logger["entity"]} if logger["entity"] else {}),
        "method": options.method,
        "metric": sweep_metric(chosen),
        **({"run_cap": options.trials} if options.trials else {}),
        "parameters": {parameter_name(one): sweep_parameter(one, options.method == "grid") for one in space.dimensions},
        "command": agent_command([*extra, *space.strategy, *settings]),
    }
    path = target.folder / "sweep.yaml"
    write_bytes(path, yaml.safe_dump(spec, sort_keys=False).encode())
    print(path)
    return _register(spec, path)


def sweep_metric(chosen: ValidationMetric) -> dict[str, str]:
    """What the sweep goes by, under the key that a validation-only run's summary has for it."""
    return {"name": f"final/validation/{chosen.name}", "goal": chosen.direction}


def agent_command(words: Sequence[str]) -> list[str]:
    """What an agent runs: validation-only, so that no test score of settings that were only tried is ever seen."""
    return ["${env}", "${program}", "run", "--validation-only", *words, "${args_no_hyphens}"]


def parameter_name(one: Dimension) -> str:
    """The parameter's name: dots in place of the slashes of an inner group, which `trigan run` takes alike."""
    return one.key.replace("/", ".")


def sweep_parameter(one: Dimension, grid: bool) -> dict[str, Any]:
    """A dimension as W&B has it: flat, never nested; a grid has values alone, and so has what W&B cannot draw."""
    if one.kind == "choice":
        # an agent writes None as `None`, which Hydra reads as a text
        return {"values": ["null" if value is None else value for value in one.values]}
    low, high = one.values
    if grid or one.kind == "log_int":
        return {"values": _spread(one)}
    return {"distribution": _DISTRIBUTIONS[one.kind], "min": low, "max": high}


def _spread(one: Dimension) -> list[Any]:
    """Some values of a range, evenly spread on its scale, its ends and its default among them."""
    low, high = one.values
    shares = [k / (_STEPS - 1) for k in range(_STEPS)]
    if one.kind.startswith("log"):
        inner = [math.exp(math.log(low) + share * (math.log(high) - math.log(low))) for share in shares[1:-1]]
    else:
        inner = [low + share * (high - low) for share in shares[1:-1]]
    rounded = [round(value) if "int" in one.kind else float(f"{value:.4g}") for value in inner]
    return sorted({low, *rounded, high, one.default})


def _register(spec: dict[str, Any], path: Path) -> int:
    from trigan.tracking.wandb_sweeps import register_sweep

    place = register_sweep(spec)
    if place is not None:
        print(f"on every machine that is to take part: wandb agent {place}")
        return 0
    project = ["--project", spec["project"], *(["--entity", spec["entity"]] if "entity" in spec else [])]
    print(f"you are not logged in to W&B; then: {shlex.join(['wandb', 'sweep', *project, str(path)])}")
    print("it prints the sweep's id; on every machine that is to take part: wandb agent ENTITY/PROJECT/ID")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="trigan wandb-sweep",
        usage="trigan wandb-sweep SPACE [setting=value ...] [options]",
        description="A search space as a W&B sweep: write its YAML, and register it where you are logged in.",
        epilog="W&B chooses the points and begins with none of ours: the default is tried only if it draws it.",
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", metavar="SPACE", help="a space of conf/search, and settings for all runs")
    parser.add_argument("--method", choices=("bayes", "random", "grid"), default="bayes")
    parser.add_argument("--metric", default="accuracy", help=f"a validation score: {', '.join(VALIDATION_METRICS)}")
    parser.add_argument("--trials", type=positive_int, metavar="N", help="runs after which the sweep ends")
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own, and search/NAME.yaml")
    return parser

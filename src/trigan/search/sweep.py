"""A search space as a W&B sweep; its agents run ``trigan run --validation-only``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from trigan.atomic import write_text
from trigan.config.compose import Composer
from trigan.config.settings_file import dotted_key
from trigan.errors import ConfigError
from trigan.execution.job import run_options
from trigan.search.metric import ValidationMetric
from trigan.search.space import Dimension, find_space
from trigan.search.strategy_search import strategy_searches

#: Values of a range that a grid takes beside its default.
_STEPS = 4
_DISTRIBUTIONS = {"uniform": "uniform", "log_uniform": "log_uniform_values", "int": "int_uniform"}


def write_sweep(
    space_name: str,
    overrides: Sequence[str],
    metric: ValidationMetric,
    *,
    method: Literal["bayes", "random", "grid"] = "bayes",
    trials: int | None = None,
    config_dir: Path | None = None,
) -> tuple[dict[str, Any], Path]:
    """Write the sweep's YAML into the search's folder; the sweep ends after ``trials`` runs.

    W&B has no conditions, so a hyperparameter with ``unless`` keeps its default.

    Returns:
        The sweep as W&B takes it, and the file.
    """
    space = find_space(space_name, config_dir)
    (search,) = strategy_searches(Composer(config_dir), [space], overrides, metric)
    loggers = search.composer.compose([*space.strategy, *overrides]).config["logger"]
    logger = loggers.get("wandb")
    if logger is None:
        raise ConfigError("logger: the runs of a sweep report to W&B; take logger=wandb, or trigan search")
    unconditional = [one for one in space.dimensions if not one.unless]
    spec = {
        "name": search.name,
        "program": "trigan",
        "project": logger["project"],
        **({"entity": logger["entity"]} if logger["entity"] else {}),
        "method": method,
        "metric": {"name": f"final/validation/{metric.name}", "goal": metric.direction},
        **({"run_cap": trials} if trials else {}),
        "parameters": {dotted_key(one.key): sweep_parameter(one, method == "grid") for one in unconditional},
        "command": agent_command([*run_options(config_dir), *space.strategy, *overrides]),
    }
    path = search.folder / "sweep.yaml"
    write_text(path, yaml.safe_dump(spec, sort_keys=False))
    return spec, path


def agent_command(words: Sequence[str]) -> list[str]:
    """What an agent runs: validation-only, so that settings which were only tried never get a test score."""
    return ["${env}", "${program}", "run", "--validation-only", *words, "${args_no_hyphens}"]


def sweep_parameter(one: Dimension, grid: bool) -> dict[str, Any]:
    """A dimension in W&B's form, flat; a list of values for a grid and for distributions that W&B does not have."""
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
    spread = np.geomspace if one.kind.startswith("log") else np.linspace
    inner = spread(low, high, _STEPS)[1:-1].tolist()
    rounded = [round(value) if "int" in one.kind else float(f"{value:.4g}") for value in inner]
    return sorted({low, *rounded, high, one.default})

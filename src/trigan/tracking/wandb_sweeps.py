"""Sweeps of W&B: registering one, and whether this process was started by an agent of one."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from trigan.errors import ConfigError
from trigan.tracking.wandb_tracking import logged_in


def register_sweep(spec: Mapping[str, Any]) -> str | None:
    """Make the sweep; ``entity/project/id`` as `wandb agent` takes it. None: nobody is logged in.

    Raises:
        ConfigError: W&B refuses it, or can't be reached.
    """
    import wandb

    try:
        if not logged_in():
            return None
        with contextlib.redirect_stdout(sys.stderr):  # W&B prints the sweep's address
            made = wandb.sweep(dict(spec), entity=spec.get("entity"), project=spec["project"])
        entity = spec.get("entity") or wandb.Api().default_entity
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"W&B did not take the sweep ({said}); its YAML lies there for `wandb sweep`") from error
    return "/".join(part for part in (entity, spec["project"], made) if part)


def started_by_sweep_agent() -> bool:
    """Whether an agent of a sweep started this process: the run that W&B has for it is then not named by us."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))

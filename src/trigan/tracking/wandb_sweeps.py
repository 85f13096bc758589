"""W&B sweeps: register one, and tell whether an agent of one started this process."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from trigan.errors import ConfigError
from trigan.tracking.wandb_tracker import short_error
from trigan.tracking.wandb_tracking import logged_in


def register_sweep(spec: Mapping[str, Any]) -> str | None:
    """Create the sweep in W&B.

    Returns:
        ``entity/project/id``, as `wandb agent` takes it; None if nobody is logged in.

    Raises:
        ConfigError: W&B refuses the sweep or can't be reached.
    """
    import wandb

    try:
        if not logged_in():
            return None
        with contextlib.redirect_stdout(sys.stderr):  # W&B prints the sweep's address
            sweep = wandb.sweep(dict(spec), entity=spec.get("entity"), project=spec["project"])
        entity = spec.get("entity") or wandb.Api().default_entity
    except Exception as error:
        reason = short_error(error)
        raise ConfigError(
            f"W&B did not take the sweep ({reason}); register its YAML file with `wandb sweep`"
        ) from error
    return "/".join(part for part in (entity, spec["project"], sweep) if part)


def started_by_sweep_agent() -> bool:
    """Whether a sweep agent started this process; W&B then assigns the run's id."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))

"""Range checks for the settings of stages, objectives and optimizers."""

from trigan.errors import ConfigError


def require(holds: bool, setting: str, value: object, range_: str) -> None:
    """Raise a `ConfigError` unless ``holds``; ``trigan.config.build`` prepends the path of the object's node."""
    if not holds:
        raise ConfigError(f"{setting}: {value} must be {range_}")


def require_clip(clip: float | None) -> None:
    """Raise a `ConfigError` unless ``clip`` can bound a norm: a negative one would reverse the gradient."""
    require(clip is None or clip > 0.0, "clip", clip, "above 0, or null")


def require_length(steps: int, batch: int, least_steps: int = 1) -> None:
    """Raise a `ConfigError` unless a fit has ``least_steps`` steps and two images in a batch, for batch norm."""
    require(steps >= least_steps, "steps", steps, f"at least {least_steps}")
    require(batch >= 2, "batch", batch, "at least 2")

"""Range checks of settings: one line that names the setting, its value and what was expected."""

from trigan.errors import ConfigError


def require(holds: bool, setting: str, value: object, expected: str) -> None:
    """Raise a `ConfigError` unless ``holds``; ``trigan.config.build`` prepends the path of the object's node."""
    if not holds:
        raise ConfigError(f"{setting}: {value} must be {expected}")


def require_settings(owner: object, names: str, least: float, prefix: str = "") -> None:
    """Require that each of ``names``, separated by spaces, is a number of ``owner`` of at least ``least``."""
    for name in names.split():
        require(getattr(owner, name) >= least, prefix + name, getattr(owner, name), f"at least {least}")


def require_at_least(setting: str, value: int, low: int) -> None:
    """Require an integer of ``low`` or more."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    require(is_integer and value >= low, setting, value, f"an integer of at least {low}")


def require_probability(setting: str, value: float) -> None:
    """Require a probability below 1."""
    require(0 <= value < 1, setting, value, "a probability in [0, 1)")


def require_std(setting: str, value: float) -> None:
    """Require a finite standard deviation above 0."""
    require(0 < value < float("inf"), setting, value, "a standard deviation above 0")


def require_clip(clip: float | None) -> None:
    """Require a bound of a norm, or None: a negative one would reverse the gradient."""
    require(clip is None or clip > 0.0, "clip", clip, "above 0, or null")


def require_length(steps: int, batch: int, least_steps: int = 1) -> None:
    """Require ``least_steps`` steps, and two images in a batch, for batch norm."""
    require(steps >= least_steps, "steps", steps, f"at least {least_steps}")
    require(batch >= 2, "batch", batch, "at least 2")

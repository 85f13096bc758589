"""Range checks of settings: one line that names the setting, its value and what was expected."""

from trigan.errors import ConfigError


def require(holds: bool, setting: str, value: object, expected: str) -> None:
    """Raise a `ConfigError`, ``setting=value: give expected``, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{setting}={value!r}: give {expected}")


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

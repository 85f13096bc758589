"""Range checks for the settings of architectures and classifiers."""

from trigan.errors import ConfigError


def require_at_least(setting: str, value: int, low: int) -> None:
    """Raise a :class:`ConfigError` that names the setting unless ``value`` is an integer of ``low`` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(f"{setting}={value!r}: give an integer of at least {low}")


def require_choice(setting: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a :class:`ConfigError` that lists the choices unless ``value`` is one of them."""
    if value not in choices:
        raise ConfigError(f"{setting}={value!r}: give one of {', '.join(choices)}")

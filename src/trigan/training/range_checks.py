"""Range checks for the settings of stages, objectives and optimizers."""

from trigan.errors import ConfigError


def require(holds: bool, setting: str, value: object, range_: str) -> None:
    """Raise a :class:`ConfigError` that leads with the setting and its value unless ``holds``.

    Whoever builds the object from a config puts the path of its node before the setting.
    """
    if not holds:
        raise ConfigError(f"{setting}: {value} must be {range_}")


def require_clip(clip: float | None) -> None:
    """Raise a :class:`ConfigError` unless ``clip`` can bound a norm: a negative one would turn the gradient round."""
    require(clip is None or clip > 0.0, "clip", clip, "above 0, or null")

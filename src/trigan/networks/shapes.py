"""The image shapes that networks are built for, and the map sizes that follow from them."""

from typing import Protocol

from trigan.errors import ConfigError

MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 8, 512


class ImageSpec(Protocol):
    """Images of shape (channels, size, size) in ``classes`` classes; ``trigan.datasets.types.DataSpec`` is one."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def size(self) -> int:
        """Height and width of an image, in pixels."""

    @property
    def classes(self) -> int:
        """Number of classes."""


def require_supported(spec: ImageSpec) -> None:
    """Raise a `ConfigError` unless the images are 8 to 512 pixels wide and have a channel."""
    if not MIN_IMAGE_SIZE <= spec.size <= MAX_IMAGE_SIZE:
        raise ConfigError(
            f"data.image_size={spec.size}: the networks take images of {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels;"
            " set data.image_size within that range to have them resized"
        )
    if spec.channels < 1:
        raise ConfigError(f"the images have {spec.channels} channels: at least 1 is needed")


def map_sizes(size: int) -> tuple[int, ...]:
    """The map sizes ``size, ceil(size / 2), ...`` until at most 4, with at least two halvings: 28 -> (28, 14, 7, 4)."""
    sizes = [size]
    while len(sizes) < 3 or sizes[-1] > 4:
        sizes.append(-(-sizes[-1] // 2))
    return tuple(sizes)


def channels_per_level(width: int, levels: int, max_multiplier: int) -> tuple[int, ...]:
    """Channels of each level, input side first: ``width`` doubled at every level up to ``width * max_multiplier``."""
    return tuple(width * min(2**level, max_multiplier) for level in range(levels))

"""What a network needs to know of the data, and the chain of map sizes that follows from the image size."""

from typing import Protocol

from trigan.errors import ConfigError

MIN_IMAGE_SIZE = 8
MAX_IMAGE_SIZE = 128
_SMALLEST_MAP = 4


class ImageSpec(Protocol):
    """Images of shape (channels, size, size) in ``classes`` classes; ``trigan.data.DataSpec`` is one."""

    @property
    def channels(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def classes(self) -> int: ...


def require_supported(spec: ImageSpec) -> None:
    """Raise a :class:`ConfigError` unless the images are 8 to 128 pixels wide and have a channel."""
    if not MIN_IMAGE_SIZE <= spec.size <= MAX_IMAGE_SIZE:
        raise ConfigError(
            f"data.image_size={spec.size}: the networks take images of {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels;"
            " set data.image_size within that range to have them resized"
        )
    if spec.channels < 1:
        raise ConfigError(f"the images have {spec.channels} channels: at least 1 is needed")


def map_sizes(size: int) -> tuple[int, ...]:
    """The map sizes ``size, ceil(size / 2), ...`` until at most 4, with two halvings at least: 28 -> (28, 14, 7, 4)."""
    sizes = [size]
    while len(sizes) < 3 or sizes[-1] > _SMALLEST_MAP:
        sizes.append(-(-sizes[-1] // 2))
    return tuple(sizes)


def channels_per_level(width: int, levels: int, max_multiplier: int) -> tuple[int, ...]:
    """Channels of each level, input side first: ``width`` doubled at every level up to ``width * max_multiplier``."""
    return tuple(width * min(2**level, max_multiplier) for level in range(levels))

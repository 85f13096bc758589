"""Decoded values become 8 bits, and pixels the square size that networks take."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from trigan.checks import require
from trigan.datasets.types import MAX_IMAGE_SIZE, MIN_IMAGE_SIZE
from trigan.errors import DataError

Fit = Literal["crop", "pad"]


@dataclass(frozen=True)
class Geometry:
    """The requested side and channels, None keeps them as they are; and what becomes of images that are not square."""

    image_size: int | None
    channels: int | None
    square: Fit = "crop"

    def __post_init__(self) -> None:
        side, least, most = self.image_size, MIN_IMAGE_SIZE, MAX_IMAGE_SIZE
        require(side is None or least <= side <= most, "data.image_size", side, f"in {least}..{most}, or null")
        require(self.channels in (None, 1, 3), "data.channels", self.channels, "1, 3, or null (as the images are)")
        require(self.square in ("crop", "pad"), "data.fit", self.square, "crop or pad")

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Decoded pixels (H, W, c) -> (S, S, c'): a square, then Pillow's antialiased resize, then channels.

        An image that is not square loses the ends of its longer side (``crop``), or gets black bars (``pad``).
        """
        square = self._square(pixels)
        side = square.shape[0]
        new_side = self.image_size or side
        if new_side == side and self.channels in (None, square.shape[2]):
            return square
        image = Image.fromarray(square[..., 0] if square.shape[2] == 1 else np.ascontiguousarray(square))
        if self.channels is not None:
            image = image.convert("L" if self.channels == 1 else "RGB")
        if new_side != side:
            image = image.resize((new_side, new_side), Image.Resampling.BILINEAR)
        return np.atleast_3d(np.asarray(image))

    def _square(self, pixels: np.ndarray) -> np.ndarray:
        height, width, _ = pixels.shape
        side = max(height, width) if self.square == "pad" else min(height, width)
        top, left = abs(height - side) // 2, abs(width - side) // 2
        if self.square == "pad":
            around = ((top, side - height - top), (left, side - width - left), (0, 0))
            return np.pad(pixels, around) if height != width else pixels
        return pixels[top : top + side, left : left + side]


def to_8_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values of any kind as uint8: ``low`` and below become 0, ``high`` and above 255.

    Raises:
        DataError: values that are not finite.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("pixels that are not finite (NaN or infinity); replace them")
    scaled: np.ndarray = np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return scaled

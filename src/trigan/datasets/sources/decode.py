"""Files, bytes and arrays become uint8 pixels, and pixels the square size that networks take."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trigan.checks import require
from trigan.datasets.types import MAX_IMAGE_SIZE, MIN_IMAGE_SIZE
from trigan.errors import DataError

#: Pillow's grey modes, and those with an alpha channel.
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}


@dataclass(frozen=True)
class Geometry:
    """The requested side and channels; None keeps them as they are."""

    image_size: int | None
    channels: int | None

    def __post_init__(self) -> None:
        side, least, most = self.image_size, MIN_IMAGE_SIZE, MAX_IMAGE_SIZE
        require(side is None or least <= side <= most, "data.image_size", side, f"in {least}..{most}, or null")
        require(self.channels in (None, 1, 3), "data.channels", self.channels, "1, 3, or null (as the images are)")

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Decoded pixels (H, W, c) -> (S, S, c'): centre square, then Pillow's antialiased resize, then channels.

        An image that is not square loses the ends of its longer side.
        """
        height, width, _ = pixels.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = pixels[top : top + side, left : left + side]
        new_side = self.image_size or side
        if new_side == side and self.channels in (None, square.shape[2]):
            return square
        image = Image.fromarray(square[..., 0] if square.shape[2] == 1 else np.ascontiguousarray(square))
        if self.channels is not None:
            image = image.convert("L" if self.channels == 1 else "RGB")
        if new_side != side:
            image = image.resize((new_side, new_side), Image.Resampling.BILINEAR)
        return np.atleast_3d(np.asarray(image))


def decode(data: bytes | Path | np.ndarray, location: str) -> np.ndarray:
    """Decoded pixels uint8 (H, W, 1 or 3).

    Grey images stay grey; transparent pixels are composited over white; 16-bit grey is divided by 257; EXIF orientation
    is applied; an animation gives its first frame.

    Raises:
        DataError: it is no readable image; the line names ``location``.
    """
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim not in (2, 3) or data.shape[2:] not in ((), (1,), (3,)) or not data.size:
            raise DataError(
                f"{location}: images must be uint8 (H, W), (H, W, 1) or (H, W, 3), not {data.dtype} {data.shape}"
            )
        return np.atleast_3d(data)
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            image.load()
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info and not image.getexif()
            return np.atleast_3d(np.asarray(image if plain else _to_grey_or_rgb(ImageOps.exif_transpose(image))))
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, EOFError ...
        raise DataError(
            f"{location} is not a readable image ({first_line(error)}); repair or remove it "
            "(`trigan data check` lists all of them)"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of another library's error, at most 160 characters; its class if it has no text."""
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as ``L`` or ``RGB``."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("values outside 0..65535")
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    mode = "L" if image.mode in _GREY else "RGB"
    if image.mode in _ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert(mode)

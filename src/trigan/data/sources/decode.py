"""From files, bytes and arrays to uint8 pixels, and from pixels to the square size that networks get."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trigan.data.types import MAX_IMAGE_SIZE, MIN_IMAGE_SIZE
from trigan.errors import ConfigError, DataError

#: Pillow's modes that are grey at heart, and those with an alpha channel.
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}


@dataclass(frozen=True)
class Geometry:
    """The size and channels that a source is asked for; None leaves them as they are."""

    image_size: int | None
    channels: int | None

    def __post_init__(self) -> None:
        if self.image_size is not None and not MIN_IMAGE_SIZE <= self.image_size <= MAX_IMAGE_SIZE:
            raise ConfigError(
                f"data.image_size={self.image_size}: must lie in {MIN_IMAGE_SIZE}..{MAX_IMAGE_SIZE}, or be null"
            )
        if self.channels not in (None, 1, 3):
            raise ConfigError(f"data.channels={self.channels}: must be 1, 3, or null (as the images are)")

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Decoded pixels (H, W, c) -> (S, S, c'): centre square, then Pillow's antialiased resize, then channels.

        An image that is not square loses the ends of its longer side.
        """
        height, width, _ = pixels.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = pixels[top : top + side, left : left + side]
        wanted = self.image_size or side
        if wanted == side and self.channels in (None, square.shape[2]):
            return square
        image = Image.fromarray(square[..., 0] if square.shape[2] == 1 else np.ascontiguousarray(square))
        if self.channels is not None:
            image = image.convert("L" if self.channels == 1 else "RGB")
        if wanted != side:
            image = image.resize((wanted, wanted), Image.Resampling.BILINEAR)
        return _with_channels(np.asarray(image))


def decode(data: bytes | Path | np.ndarray, where: str) -> np.ndarray:
    """Decoded pixels uint8 (H, W, 1 or 3).

    Grey images stay grey; transparency is laid over white; 16-bit grey becomes 8-bit by dividing by 257; orientation
    marks of cameras are followed; of an animation the first frame is taken.

    Raises:
        DataError: naming ``where``, when it cannot be read as an image.
    """
    if isinstance(data, np.ndarray):
        return _checked_array(data, where)
    with _reading(where), Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        image.load()
        if image.mode in ("L", "RGB") and "transparency" not in image.info and not image.getexif():
            return _with_channels(np.asarray(image))
        return _with_channels(np.asarray(_plain(ImageOps.exif_transpose(image))))


def require_min_size(pixels: np.ndarray, where: str) -> None:
    """Nothing is to be learnt from an image with a side under 8 pixels: it is a stray file, or a mistake.

    Raises:
        DataError: naming ``where``.
    """
    height, width, _ = pixels.shape
    if min(height, width) < MIN_IMAGE_SIZE:
        raise DataError(
            f"{where} is {width}x{height} pixels, and {MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE} is the least; "
            f"remove it (`trigan data check` lists all of them)"
        )


def _plain(image: Image.Image) -> Image.Image:
    """Any Pillow mode as ``L`` or ``RGB``."""
    grey = image.mode in _GREY
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert("L" if grey else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise ValueError("values outside 0..65535")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _with_channels(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _checked_array(data: np.ndarray, where: str) -> np.ndarray:
    pixels = _with_channels(data)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise DataError(f"{where}: images must be uint8 (H, W), (H, W, 1) or (H, W, 3), not {data.dtype} {data.shape}")
    return pixels


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn whatever a damaged file makes Pillow raise into one line.

    Its plug-ins raise OSError, SyntaxError, ValueError, struct.error, EOFError and more, so nothing narrower than
    Exception catches them all.
    """
    try:
        yield
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{where} is not a readable image ({reason}); repair or remove it (`trigan data check` lists all of them)"
        ) from error

"""Files, bytes and arrays become uint8 pixels."""

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from trigan.datasets.sources.dicom import decode_dicom, is_dicom
from trigan.datasets.sources.geometry import to_8_bits
from trigan.errors import DataError

#: Lowest and highest value of the pixels, which become 0 and 255.
Window = Sequence[float]

#: Pillow's grey modes, and those with an alpha channel.
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA = {"LA", "La", "RGBA", "RGBa", "PA"}
#: Baseline tags of TIFF 6.0.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339

# Pillow's own warning from 89 megapixels on; from 179 on it refuses, which `_reason` explains.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def decode(
    data: bytes | Path | np.ndarray, location: str, window: Window | None = None, notes: list[str] | None = None
) -> np.ndarray:
    """Decoded pixels uint8 (H, W, 1 or 3).

    Grey images stay grey; transparent pixels are composited over white; EXIF orientation is applied; the range of
    16-bit grey, or the ``window`` of grey with more than 8 bits, becomes 0..255; white is white, whatever a TIFF
    stores it as; an animation gives its first frame, which is added to ``notes``.

    Raises:
        DataError: it is no readable image, or one whose pixels have no agreed meaning; the line names ``location``.
    """
    if isinstance(data, np.ndarray):
        return _from_array(data, location, window)
    try:
        if is_dicom(data):
            return decode_dicom(data, window)
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            _refuse_unclear(image, window)
            if _has_frames(image) and notes is not None:
                notes.append("of several frames or pages only the first is read")
            image.load()
            plain = image.mode in ("L", "RGB") and "transparency" not in image.info and not image.getexif()
            pixels = image if plain else _to_grey_or_rgb(image, window, notes)
            return np.atleast_3d(np.asarray(pixels))
    except DataError as error:
        raise DataError(f"{location}: {error}") from error
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, EOFError ...
        raise DataError(f"{location} {_reason(error)} (`trigan data check` lists all of them)") from error


def first_line(error: Exception) -> str:
    """The first line of another library's error, at most 160 characters; its class if it has no text."""
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large to be decoded safely ({first_line(error).split(',')[0]}); make it smaller beforehand"
    return f"is not a readable image ({first_line(error)}); repair or remove it"


def _from_array(array: np.ndarray, location: str, window: Window | None) -> np.ndarray:
    if array.ndim in (2, 3) and array.shape[2:] in ((), (1,), (3,)) and array.size:
        if array.dtype == np.uint8:
            return np.atleast_3d(array)
        if array.dtype == np.uint16 or (window is not None and array.dtype.kind in "iuf"):
            return np.atleast_3d(to_8_bits(array, *(window or (0, 65535))))
    raise DataError(
        f"{location}: images must be uint8 or uint16 (H, W), (H, W, 1) or (H, W, 3), or with data.window=[LOW,HIGH] of "
        f"any number type, not {array.dtype} {array.shape}"
    )


def _refuse_unclear(image: Image.Image, window: Window | None) -> None:
    """Refuse what Pillow reads, but not as it is meant."""
    sample_format = image.tag_v2.get(_SAMPLE_FORMAT, (1,)) if image.format == "TIFF" else (1,)  # type: ignore[attr-defined]
    if image.mode == "L" and 2 in sample_format:
        raise DataError("signed 8-bit pixels; save it unsigned")
    if image.mode == "LAB":
        raise DataError("CIELAB colours are not read; save it as RGB")
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        raise DataError("a CMYK JPEG without Adobe's marker may be inverted or not; save it as RGB")
    wide_colour = image.mode.startswith("RGB") and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    key = image.info.get("transparency")
    if wide_colour and (window is not None or (isinstance(key, tuple) and max(key) > 255)):
        raise DataError("16-bit colour with a window or a transparent colour is not read; save it with 8 bits")


def _has_frames(image: Image.Image) -> bool:
    with contextlib.suppress(Exception):  # a damaged second frame
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return True


def _to_grey_or_rgb(image: Image.Image, window: Window | None, notes: list[str] | None) -> Image.Image:
    """Any Pillow mode as ``L`` or ``RGB``, upright."""
    tags = getattr(image, "tag_v2", {})
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        if window is None and notes is not None:
            notes.append(
                "more than 8 bits, whose whole range becomes 0..255 (data.window=[LOW,HIGH] takes a part of it)"
            )
        return _wide_grey(image, tags, window)
    mode = "L" if image.mode in _GREY else "RGB"
    if image.mode in _ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert(mode)


def _wide_grey(image: Image.Image, tags: Mapping[int, Any], window: Window | None) -> Image.Image:
    """Grey of more than 8 bits as ``L``; ``tags`` are those of a TIFF."""
    values = np.asarray(image)
    bits = tags.get(_BITS, (16,))[0]
    low, high = window or (0, 2**bits - 1 if bits < 16 else 65535)
    if window is None and image.mode == "F":
        raise DataError(
            "floating-point pixels have no agreed range; set data.window=[LOW,HIGH], or save it with 8 bits"
        )
    if window is None and (values.min() < 0 or values.max() > 65535):
        raise DataError("values outside 0..65535; set data.window=[LOW,HIGH]")
    grey = to_8_bits(values, low, high)
    if tags.get(_PHOTOMETRIC) == 0:  # white is stored as 0
        grey = 255 - grey
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey)

"""Contact sheets of images: generated samples by class, and over training. Pixels stay sharp, never resampled."""

import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trigan.atomic import write_bytes
from trigan.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

#: Pixels between two images, and a side that a shown image has at least.
GAP, SIDE = 2, 40
#: Snapshots beside each other at the most; more are thinned evenly, the first and the last kept.
SNAPSHOTS = 6
_FONT, _MARGIN, _INK = 13, 8, (40, 40, 40)


@functools.cache
def _font() -> "FreeTypeFont":
    """The plots' font, which matplotlib brings: Pillow's own has few letters beyond ASCII."""
    import matplotlib
    from PIL.ImageFont import truetype

    return truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _FONT)


def save_sample_grid(images: np.ndarray, path: Path, row_names: Sequence[str] = ()) -> None:
    """Write a grid of images as PNG, each row named at its left.

    Args:
        images: uint8 (rows, columns, H, W, C) with C = 1 or 3, or (rows, columns, H, W).
        row_names: one a row, or none.
    """
    grid = _grid(images)
    names = _names(row_names, len(images))
    left = _name_width(names)
    page, draw = _page(left + grid.shape[1] + _MARGIN, grid.shape[0] + 2 * _MARGIN)
    _paste(page, grid, left, _MARGIN)
    _write_names(draw, names, left, _MARGIN, grid.shape[0])
    _save(page, path)


def save_samples_over_training(
    snapshots: Sequence[tuple[int, np.ndarray]], path: Path, row_names: Sequence[str] = (), columns: int = 5
) -> None:
    """Write samples at several moments of training beside each other, early to late, a row a class.

    Args:
        snapshots: (images seen, uint8 (classes, n, H, W, C)); the first ``columns`` of the n samples are shown.
        row_names: one a class, or none where the rows are no classes (an unconditional generator).
    """
    if not snapshots:
        raise DataError("no samples to show: the list of snapshots is empty")
    shown = _thinned(sorted(snapshots, key=lambda one: one[0]))
    grids = [_grid(images[:, :columns]) for _, images in shown]
    names = _names(row_names, len(shown[0][1]))
    left, top = _name_width(names), _MARGIN + _FONT + 8
    widths = [max(grid.shape[1], _text_width(_seen(seen))) for grid, (seen, _) in zip(grids, shown, strict=True)]
    page, draw = _page(left + sum(widths) + 2 * _MARGIN * len(grids), top + grids[0].shape[0] + _MARGIN)
    x = left
    for grid, width, (seen, _) in zip(grids, widths, shown, strict=True):
        draw.text((x, _MARGIN), _seen(seen), fill=_INK, font=_font())
        _paste(page, grid, x, top)
        x += width + 2 * _MARGIN
    _write_names(draw, names, left, top, grids[0].shape[0])
    _save(page, path)


def _thinned(snapshots: Sequence[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    last = len(snapshots) - 1
    if last < SNAPSHOTS:
        return list(snapshots)
    return [snapshots[round(index * last / (SNAPSHOTS - 1))] for index in range(SNAPSHOTS)]


def _seen(images: int) -> str:
    if images == 0:
        return "start"
    return f"{images / 1000:.3g}k images" if images >= 1000 else f"{images} images"


def _grid(images: np.ndarray) -> np.ndarray:
    """Images (rows, columns, H, W[, C]) as one RGB picture on white, each enlarged by a whole number of pixels."""
    if images.ndim == 4:
        images = images[..., None]
    if images.ndim != 5 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        found = f"{images.dtype} {images.shape}"
        raise DataError(f"a sheet takes uint8 images (rows, columns, H, W, 1 or 3), got {found}")
    rows, columns, high, wide, _ = images.shape
    factor = max(1, math.ceil(SIDE / max(high, wide)))
    large = np.broadcast_to(images, (rows, columns, high, wide, 3)).repeat(factor, axis=2).repeat(factor, axis=3)
    high, wide = high * factor + GAP, wide * factor + GAP
    cells = np.full((rows, columns, high, wide, 3), 255, dtype=np.uint8)
    cells[:, :, :-GAP, :-GAP] = large
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * high, columns * wide, 3)[:-GAP, :-GAP]


def _names(row_names: Sequence[str], rows: int) -> list[str]:
    if row_names and len(row_names) != rows:
        raise DataError(f"a sheet of {rows} rows takes {rows} names, got {len(row_names)}")
    return [name if len(name) <= 24 else f"{name[:23]}…" for name in row_names]


def _page(width: int, height: int) -> "tuple[Image, ImageDraw]":
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (width, height), "white")
    return page, ImageDraw.Draw(page)


def _text_width(text: str) -> int:
    _, draw = _page(1, 1)
    return math.ceil(draw.textlength(text, font=_font()))


def _name_width(names: Sequence[str]) -> int:
    return 2 * _MARGIN + max(map(_text_width, names)) if names else _MARGIN


def _write_names(draw: "ImageDraw", names: Sequence[str], left: int, top: int, height: int) -> None:
    """Names right-aligned before the rows, in the middle of each."""
    for index, name in enumerate(names):
        middle = top + (index + 0.5) * (height + GAP) / len(names)
        draw.text((left - _MARGIN, middle), name, fill=_INK, font=_font(), anchor="rm")


def _paste(page: "Image", grid: np.ndarray, x: int, y: int) -> None:
    from PIL import Image

    page.paste(Image.fromarray(np.ascontiguousarray(grid)), (x, y))


def _save(page: "Image", path: Path) -> None:
    content = io.BytesIO()
    page.save(content, format="PNG", optimize=False)
    write_bytes(path, content.getvalue())

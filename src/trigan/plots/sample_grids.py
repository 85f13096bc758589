"""Grids of images as PNG: generated samples by class, and over training. Pixels are enlarged by whole factors only."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trigan.atomic import atomic_write
from trigan.errors import DataError
from trigan.plots.plot_style import drawable, font_path
from trigan.tables.layout.formatting import format_images, shorten

#: Pixels between two images, and the smallest side of an enlarged image.
GAP, SIDE = 2, 40
#: Largest number of snapshots; of more, evenly spaced ones are kept, the first and the last among them.
SNAPSHOTS = 6
_FONT, _MARGIN, _INK = 13, 8, (40, 40, 40)
#: Before the name of an event in a title, which is red then.
_MARK, _RED = "!", (200, 30, 30)


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_path(), _FONT)


def save_sample_grid(
    images: np.ndarray, path: Path, row_names: Sequence[str] = (), real: np.ndarray | None = None
) -> None:
    """Write a grid of images, uint8 (rows, columns, H, W, 1 or 3), as PNG, with the rows' names at the left.

    With ``real``, a grid of as many rows, ``images`` are generated ones beside real ones.
    """
    _save([(images, "")] if real is None else [(images, "generated"), (real, "real")], path, row_names)


def save_contact_sheet(classes: Sequence[np.ndarray], row_names: Sequence[str], path: Path) -> None:
    """Write a row of images for each class, uint8 (n, H, W, 1 or 3) with n that may differ, as PNG."""
    most = max(len(images) for images in classes)
    rows = [np.pad(one, ((0, most - len(one)), *[(0, 0)] * 3), constant_values=255) for one in classes]
    _save([(np.stack(rows), "")], path, row_names)


def save_samples_over_training(
    snapshots: Sequence[tuple[int, np.ndarray]],
    path: Path,
    row_names: Sequence[str] = (),
    columns: int = 5,
    events: Sequence[tuple[int, str]] = (),
) -> None:
    """Write samples at several steps of training side by side, early to late, one row a class, as PNG.

    ``snapshots`` are (images seen, uint8 (classes, n, H, W, 1 or 3)); ``columns`` of the n samples are shown.
    An unconditional generator has no ``row_names``. ``events`` are (images seen, name): each is named above the first
    samples that are shown from then on.
    """
    if not snapshots:
        raise DataError("no samples to show: the list of snapshots is empty")
    ordered = sorted(snapshots, key=lambda one: one[0])
    last = len(ordered) - 1
    if last >= SNAPSHOTS:
        ordered = [ordered[round(index * last / (SNAPSHOTS - 1))] for index in range(SNAPSHOTS)]
    titled, before = [], -1
    for seen, images in ordered:
        names = dict.fromkeys(name for at, name in events if before < at <= seen)
        title = f"{format_images(seen)} images" if seen else "start"
        titled.append((images[:, :columns], " ".join([title, *(f"{_MARK}{name}" for name in names)])))
        before = seen
    _save(titled, path, row_names)


def _enlarged(images: np.ndarray) -> np.ndarray:
    """Images (rows, columns, H, W, C) as one RGB picture on white."""
    if images.ndim != 5 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        given = f"{images.dtype} {images.shape}"
        raise DataError(f"a sheet takes uint8 images (rows, columns, H, W, 1 or 3), got {given}")
    rows, columns, high, wide, _ = images.shape
    factor = max(1, math.ceil(SIDE / max(high, wide)))
    large = np.broadcast_to(images, (rows, columns, high, wide, 3)).repeat(factor, axis=2).repeat(factor, axis=3)
    high, wide = high * factor + GAP, wide * factor + GAP
    cells = np.full((rows, columns, high, wide, 3), 255, dtype=np.uint8)
    cells[:, :, :-GAP, :-GAP] = large
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * high, columns * wide, 3)[:-GAP, :-GAP]


def _save(titled: Sequence[tuple[np.ndarray, str]], path: Path, row_names: Sequence[str]) -> None:
    """Write grids of images side by side, each under its title, with the names of the rows at the left."""
    grids, rows = [_enlarged(images) for images, _ in titled], len(titled[0][0])
    if row_names and len(row_names) != rows:
        raise DataError(f"a sheet of {rows} rows takes {rows} names, got {len(row_names)}")
    names, titles = [shorten(drawable(name), 24) for name in row_names], [title for _, title in titled]
    top = _MARGIN + (_FONT + 8 if any(titles) else 0)

    def width(text: str) -> int:
        return math.ceil(_font().getlength(text))

    left = 2 * _MARGIN + max(map(width, names)) if names else _MARGIN
    widths = [max(grid.shape[1], width(title)) for grid, title in zip(grids, titles, strict=True)]
    total = left + sum(widths) + _MARGIN * (2 * len(grids) if any(titles) else 1)
    page = Image.new("RGB", (total, top + grids[0].shape[0] + _MARGIN), "white")
    draw, x = ImageDraw.Draw(page), left
    for grid, title, wide in zip(grids, titles, widths, strict=True):
        draw.text((x, _MARGIN), title, fill=_RED if _MARK in title else _INK, font=_font())
        page.paste(Image.fromarray(np.ascontiguousarray(grid)), (x, top))
        x += wide + 2 * _MARGIN
    for index, name in enumerate(names):
        middle = top + (index + 0.5) * (grids[0].shape[0] + GAP) / len(names)
        draw.text((left - _MARGIN, middle), name, fill=_INK, font=_font(), anchor="rm")
    with atomic_write(path) as file:
        page.save(file, format="PNG", optimize=False)

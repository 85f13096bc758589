"""Images in ``.npy`` files that are read row by row: never more of a file in memory than what is asked for."""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trigan.errors import DataError

#: Bytes that are read at a time where a file is read from end to end.
_CHUNK = 2**24


class NpyImages:
    """A file of uint8 (N, S, S) or (N, S, S, 1 or 3), as `numpy.save` writes it.

    Rows are read by position (``pread``) and not mapped: pages of a mapping would count as memory of the process, and a
    file that is cut off under a mapping kills it.

    Raises:
        DataError: another type, shape or layout, or a file that is shorter than its header says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            version = np.lib.format.read_magic(self._file)
            head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_column, dtype = head(self._file)
        except ValueError as error:
            raise DataError(f"{path} is not a readable array ({error}); write it with numpy.save") from error
        square = len(shape) in (3, 4) and shape[1] == shape[2] and (*shape, 1)[3] in (1, 3)
        if dtype != np.uint8 or by_column or not square:
            raise DataError(
                f"{path} holds {dtype} {shape}{' by column' if by_column else ''}; data.in_memory=false needs images "
                "as they are trained on: uint8 (N, S, S) or (N, S, S, 3) by row (numpy.ascontiguousarray)"
            )
        self._shape, self._first = shape, self._file.tell()
        self._bytes = math.prod(shape[1:])
        if os.fstat(self._file.fileno()).st_size < self._first + len(self) * self._bytes:
            raise DataError(f"{path} is shorter than its header says ({len(self)} images); copy it again")

    def __len__(self) -> int:
        return int(self._shape[0])

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, S, S)."""
        return (*self._shape, 1)[3], self._shape[1], self._shape[1]

    def _pixels(self, first: int, count: int) -> np.ndarray:
        """``count`` consecutive images, (count, S, S, C)."""
        found = os.pread(self._file.fileno(), count * self._bytes, self._first + first * self._bytes)
        if len(found) < count * self._bytes:
            raise DataError(f"{self.path} ended while it was read; it must not change during a run")
        channels, side, _ = self.image
        return np.frombuffer(found, np.uint8).reshape(count, side, side, channels)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The images (S, S, C) in order."""
        step = max(1, _CHUNK // self._bytes)
        for first in range(0, len(self), step):
            yield from self._pixels(first, min(step, len(self) - first))

    def read(self, row: int) -> np.ndarray:
        """One image (C, S, S)."""
        pixels: np.ndarray = self._pixels(row, 1)[0]
        return pixels.transpose(2, 0, 1)


class NpyRows:
    """The images of several files, one file after the other: `trigan.datasets.host_images.PixelRows`."""

    def __init__(self, files: Sequence[NpyImages]) -> None:
        self._files = files
        self._ends = np.cumsum([len(file) for file in files])
        images = {file.image for file in files}
        if len(images) > 1:
            raise DataError(
                f"{files[0].path.parent}: files of unlike images, (C, S, S) {sorted(images)}; give all one shape"
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def image(self) -> tuple[int, int, int]:
        """(C, S, S)."""
        return self._files[0].image

    def read(self, rows: np.ndarray) -> Tensor:
        """The images with these numbers as uint8 (n, C, S, S)."""
        found = np.empty((len(rows), *self.image), np.uint8)
        for place, (row, file) in enumerate(zip(rows, np.searchsorted(self._ends, rows, side="right"), strict=True)):
            found[place] = self._files[file].read(int(row) - int(self._ends[file]) + len(self._files[file]))
        return torch.from_numpy(found)

"""Images outside any data set: files, folders, Parquet and npz files to be classified, one image at a time."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from trigan.datasets.sources.decode import Window, decode, first_line
from trigan.datasets.sources.folder import SUFFIXES
from trigan.datasets.sources.folder_scan import FolderScan, describe_unread
from trigan.datasets.sources.geometry import Geometry
from trigan.datasets.sources.hub import LABEL_TYPES, Columns, image_bytes, read_rows
from trigan.datasets.sources.image_source import Label
from trigan.datasets.sources.npz import canonical_name, npz_arrays
from trigan.errors import DataError

_log = logging.getLogger("trigan")
_PARQUET, _NPZ = ".parquet", ".npz"


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image: ``location`` names it (``FILE``, ``FILE.parquet[3]``, ``FILE.npz:test_images[3]``).

    ``pixels`` are uint8 (C, S, S), or None for an unreadable image, whose ``error`` then says why. ``label`` is the
    class, by name where the file has names, or None where it has no labels.
    """

    location: str
    pixels: np.ndarray | None
    error: str = ""
    label: Label = None


def find_files(path: Path) -> list[Path]:
    """The file itself, or all image, Parquet and npz files at any depth of a folder, sorted; a warning names the rest.

    Raises:
        DataError: the path does not exist or holds no such file.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist; name an image, a folder of images, a Parquet or an .npz file")
    scan = FolderScan(path, "any")
    files = scan.files(path, SUFFIXES | {_PARQUET, _NPZ})
    if scan.unread:
        _log.warning("%s: %s", path, describe_unread(scan.unread))
    if not files:
        raise DataError(f"{path} holds no images (nor Parquet or .npz files)")
    return files


def count_images(files: Sequence[Path]) -> int | None:
    """How many images the files hold; None with an npz file, which must be read to be counted."""
    if any(file.suffix.lower() == _NPZ for file in files):
        return None
    return sum(_parquet_rows(file) if file.suffix.lower() == _PARQUET else 1 for file in files)


def _parquet_rows(file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return 1  # read_images yields one error for the file


def read_images(
    files: Sequence[Path], geometry: Geometry, columns: Columns, window: Window | None = None
) -> Iterator[DecodedImage]:
    """The images of the files in order, decoded and resized as those of a data set with this geometry and window.

    Nothing is raised: an unreadable image, or a damaged Parquet or npz file, is one item with its error.
    """
    for file in files:
        images: Iterable[tuple[str, Path | np.ndarray | Callable[[], bytes], Label]] = [(str(file), file, None)]
        if file.suffix.lower() == _PARQUET:
            images = _parquet_images(file, columns)
        elif file.suffix.lower() == _NPZ:
            images = _npz_images(file)
        try:
            for location, data, label in images:
                try:
                    pixels = geometry.fit(decode(data() if callable(data) else data, location, window))
                    yield DecodedImage(location, pixels.transpose(2, 0, 1), label=label)
                except DataError as error:
                    yield DecodedImage(location, None, str(error))
        except DataError as error:
            yield DecodedImage(str(file), None, str(error))


def _parquet_images(file: Path, columns: Columns) -> Iterator[tuple[str, Callable[[], bytes], Label]]:
    import datasets

    try:
        table = datasets.load_dataset("parquet", data_files=[str(file)], split="train", streaming=True)
        column = columns.find_image(table.features, str(file))
        kind = str(getattr(table.features.get(columns.label), "dtype", ""))
        of_labels = columns.label if kind.startswith(LABEL_TYPES) else None
        names: Mapping[Any, Label] = dict(enumerate(getattr(table.features.get(of_labels), "names", None) or ()))
        for row, (data, label, _) in enumerate(read_rows(table, column, of_labels)):
            yield f"{file}[{row}]", partial(image_bytes, data, column, f"{file}[{row}]"), names.get(label, label)
    except DataError:
        raise
    except Exception as error:  # pyarrow and fsspec have a dozen kinds without a common base
        raise DataError(f"{file} is not a readable Parquet file ({first_line(error)})") from error


def _npz_images(file: Path) -> Iterator[tuple[str, np.ndarray, Label]]:
    """Every array of images in the archive: uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3).

    Labels are those of the array of their part: ``train_labels`` beside ``train_images``, ``y`` beside ``x``, if it has
    one number or text for each image.
    """
    found = False
    named = ((canonical_name(name) or "", array) for name, array in npz_arrays(file))
    labels = {name: array for name, array in named if name.endswith("_labels") and array.dtype.kind in "iubU"}
    for name, array in npz_arrays(file):
        if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))):
            found = True
            known = labels.get((canonical_name(name) or "").replace("images", "labels"), np.empty(0))
            one_each = known.size == len(array) == len(known)
            rows = zip(array, known.ravel().tolist() if one_each else repeat(None, len(array)), strict=True)
            yield from ((f"{file}:{name}[{row}]", image, label) for row, (image, label) in enumerate(rows))
    if not found:
        raise DataError(f"{file} holds no images: an array uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3) is needed")

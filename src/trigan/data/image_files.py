"""Images that belong to no data set: files, folders, Parquet and npz files to be classified, one image at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trigan.data.sources.columns import Columns, ResolvedColumns, image_column
from trigan.data.sources.decode import Geometry, decode
from trigan.data.sources.folder import SUFFIXES
from trigan.errors import DataError

_PARQUET, _NPZ = ".parquet", ".npz"


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image: ``location`` names it (``FILE``, ``FILE.parquet[3]``, ``FILE.npz:test_images[3]``).

    ``pixels`` are uint8 (C, S, S); an image that cannot be read has an ``error`` in their place.
    """

    location: str
    pixels: np.ndarray | None
    error: str = ""


def find_files(path: Path) -> list[Path]:
    """The file itself, or all image, Parquet and npz files at any depth of a folder, sorted, hidden ones left out.

    Raises:
        DataError: nothing is there.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} does not exist; name an image, a folder of images, a Parquet or an .npz file")
    known = SUFFIXES | {_PARQUET, _NPZ}
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in known
        and not any(step.startswith(".") for step in file.relative_to(path).parts)
        and file.is_file()
    ]
    if not found:
        raise DataError(f"{path} holds no images (nor Parquet or .npz files)")
    return found


def count_images(files: Sequence[Path]) -> int | None:
    """How many images the files hold, as far as that can be told without reading them: None beside an npz file."""
    if any(file.suffix.lower() == _NPZ for file in files):
        return None
    return sum(_rows(file) if file.suffix.lower() == _PARQUET else 1 for file in files)


def _rows(file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return 1  # one line will say that it cannot be read


def read_images(files: Sequence[Path], geometry: Geometry, columns: Columns) -> Iterator[DecodedImage]:
    """The images of the files in order, decoded and fitted as those of a data set with this geometry.

    Nothing is raised for what cannot be read: it is given with its error, a damaged Parquet or npz file as one.
    """
    for file in files:
        try:
            for where, data in _encoded(file, columns):
                yield _fitted(where, data, geometry)
        except DataError as error:
            yield DecodedImage(str(file), None, str(error))


def _fitted(where: str, data: bytes | Path | np.ndarray | DataError, geometry: Geometry) -> DecodedImage:
    if isinstance(data, DataError):
        return DecodedImage(where, None, str(data))
    try:
        pixels = geometry.fit(decode(data, where)).transpose(2, 0, 1)
    except DataError as error:
        return DecodedImage(where, None, str(error))
    return DecodedImage(where, pixels)


def _encoded(file: Path, columns: Columns) -> Iterator[tuple[str, bytes | Path | np.ndarray | DataError]]:
    if file.suffix.lower() == _PARQUET:
        yield from _parquet(file, columns)
    elif file.suffix.lower() == _NPZ:
        yield from _npz(file)
    else:
        yield str(file), file


def _parquet(file: Path, columns: Columns) -> Iterator[tuple[str, bytes | DataError]]:
    import datasets

    try:
        table = datasets.load_dataset("parquet", data_files=[str(file)], split="train", streaming=True)
        features = table.features
        rows = ResolvedColumns(image_column(features, columns, str(file)), "", None)
        for number, (data, _) in enumerate(rows.rows(table, with_labels=False)):
            where = f"{file}[{number}]"
            try:
                yield where, rows.encoded(data, where)
            except DataError as error:
                yield where, error
    except DataError:
        raise
    except Exception as error:  # pyarrow and fsspec have a dozen kinds without a common base
        raise DataError(f"{file} is not a readable Parquet file ({_first_line(error)})") from error


def _npz(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every array of images in the archive: uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3)."""
    found = False
    try:
        with np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))):
                    found = True
                    yield from ((f"{file}:{name}[{number}]", image) for number, image in enumerate(array))
    except Exception as error:  # zipfile, zlib and NumPy have no common base
        raise DataError(f"{file} is not a readable .npz file ({_first_line(error)})") from error
    if not found:
        raise DataError(f"{file} holds no images: an array uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3) is needed")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__

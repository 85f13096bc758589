"""A NumPy archive in MedMNIST's layout: train_images, train_labels, val_images, ..., test_labels."""

import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trigan.component_ids import component
from trigan.datasets.sources.decode import first_line
from trigan.datasets.sources.image_source import ImageSource, Item, Part, file_stamps
from trigan.errors import DataError

#: Bytes of an array below which nothing is suspected, and from there how many times the stored bytes it may have.
_LEAST_SUSPECT, _MOST_COMPRESSION = 2**28, 100
_PARTS: dict[str, Part] = {"train": "train", "val": "train", "test": "test"}


@component("data/npz@1")
@dataclass(frozen=True)
class Npz(ImageSource):
    """One ``.npz`` file (MedMNIST: Yang et al. 2023, arXiv 2110.14795).

    ``train_images`` and ``train_labels`` are required; ``val_*`` joins the training images (the regime decides what
    validates); ``test_*``, if present, is the official test set; ``*_groups`` say what belongs together. Images are
    uint8 (N, H, W) or (N, H, W, 3), labels integers (N,) or (N, 1), groups integers or text (N,).

    Attributes:
        root: the file, or a folder that holds exactly one ``.npz``.
    """

    root: str | None = field(default=None, metadata={"identity": False})

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self._file().stem

    def key(self) -> Any:
        """See `ImageSource.key`."""
        return file_stamps([self._file()])

    def _file(self) -> Path:
        if self.root is None:
            raise DataError("data=npz needs a file: set data.root=FILE.npz")
        path = Path(self.root).expanduser()
        if not path.exists():
            raise DataError(f"data.root={self.root} does not exist (looked for {path.absolute()})")
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if len(files) != 1:
            raise DataError(f"data.root={self.root} holds {len(files)} .npz files; name one: data.root=FILE.npz")
        return files[0]

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        path = self._file()
        arrays = dict(npz_arrays(path))
        if "train_images" not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(f"{path} has no train_images (it holds {found}); MedMNIST's layout is expected")
        return self._items(path, arrays), None

    def _items(self, path: Path, arrays: dict[str, np.ndarray]) -> Iterator[Item]:
        for split, part in _PARTS.items():
            images = arrays.get(f"{split}_images")
            if images is None:
                continue
            labels = _labels(path, split, arrays)
            if len(images) != len(labels):
                raise DataError(f"{path}: {split} has {len(images)} images and {len(labels)} labels; they must match")
            groups = arrays.get(f"{split}_groups", np.full(len(labels), None)).ravel().tolist()
            if len(groups) != len(labels):
                raise DataError(f"{path}: {split} has {len(labels)} images and {len(groups)} groups; they must match")
            for i, (image, label, group) in enumerate(zip(images, labels, groups, strict=True)):
                yield Item(f"{path}: {split}_images[{i}]", image, label, part, group)


def npz_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and content of each array of a ``.npz`` file, read one at a time.

    Raises:
        DataError: the file is missing, damaged, or holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            for member in archive.zip.infolist():
                _check_size(member, archive.zip)
            yield from archive.items()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # zipfile, zlib and NumPy have no common base
        raise DataError(
            f"{path} is not a readable .npz file ({first_line(error)}); write plain arrays with numpy.savez"
        ) from error


def _check_size(member: zipfile.ZipInfo, archive: zipfile.ZipFile) -> None:
    """Refuse an array that its header makes far larger than what is stored, before memory is taken for it."""
    size, most = member.file_size, max(_LEAST_SUSPECT, _MOST_COMPRESSION * member.compress_size)
    if member.filename.endswith(".npy"):
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        size = max(size, math.prod(shape) * dtype.itemsize)
    if size > most:
        raise DataError(
            f"{member.filename} asks for {size:,} bytes and has {member.compress_size:,}, as no real images do; write "
            "the archive again with numpy.savez, which does not compress"
        )


def _labels(path: Path, split: str, arrays: dict[str, np.ndarray]) -> list[int]:
    labels = arrays.get(f"{split}_labels")
    if labels is None:
        raise DataError(f"{path} has {split}_images but no {split}_labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise DataError(
            f"{path}: {split}_labels must be integers (N,) or (N, 1), not {labels.dtype} {labels.shape} "
            f"(several labels per image are not supported)"
        )
    numbers: list[int] = labels.astype(np.int64).tolist()
    return numbers

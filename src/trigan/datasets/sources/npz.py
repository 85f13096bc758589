"""NumPy and IDX arrays in one file or folder: train_images, train_labels, val_images, ..., test_labels."""

import gzip
import math
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trigan.component_ids import component
from trigan.datasets.host_images import HostImages
from trigan.datasets.sources.decode import first_line
from trigan.datasets.sources.folder_scan import Part, Unread, part_of
from trigan.datasets.sources.image_source import ImageSource, Item, Label, file_stamps
from trigan.datasets.sources.npy_images import NpyImages, NpyRows
from trigan.errors import DataError, printable
from trigan.free_memory import free_bytes, in_words

_PARTS: dict[str, Part] = {"train": "train", "val": "validation", "test": "test"}
#: Bytes of an array below which nothing is suspected, and from there how many times the stored bytes it may have.
_LEAST_SUSPECT, _MOST_COMPRESSION = 2**28, 100
#: Copies of an array in memory while a data set is read.
_COPIES = 2
#: Words in the names of arrays, by what they hold.
_KINDS = {
    "images": {"x", "images", "image", "imgs"},
    "labels": {"y", "labels", "label", "targets"},
    "groups": {"groups", "group"},
}
_FILES = re.compile(r".*(\.npy|[.-]idx\d-ubyte(\.gz)?)", re.IGNORECASE)
#: Element types of IDX files (LeCun: yann.lecun.com/exdb/mnist).
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@component("data/npz@1")
@dataclass(frozen=True)
class Npz(ImageSource):
    """One ``.npz`` file (MedMNIST: Yang et al. 2023, arXiv 2110.14795), or a folder of ``.npy`` or IDX files.

    ``train_images`` and ``train_labels`` are required; ``val_*`` are the validation images; ``test_*``, if present, is
    the official test set; ``*_groups`` say what belongs together. Other usual names are understood: ``x_train``,
    ``y_test``, ``t10k-images-idx3-ubyte.gz``. Images are uint8 or uint16 (N, H, W) or (N, H, W, 3), with ``window``
    of any number type; labels are integers or text (N,) or (N, 1).

    Attributes:
        root: the file, a folder that holds exactly one ``.npz``, or one with ``.npy`` or IDX files.
        in_memory: whether images are read into memory. If not, they stay in their ``.npy`` files, which must have them
            as they are trained on, and every batch reads its rows: for sets larger than memory. Results do not change.
    """

    root: str | None = field(default=None, metadata={"identity": False})
    in_memory: bool = field(default=True, metadata={"identity": False})

    @property
    def name(self) -> str:
        """The name of the file without its suffix, or of the folder."""
        files = self._files()
        return printable(files[0].stem if files[0].suffix == ".npz" else files[0].absolute().parent.name)

    def key(self) -> Any:
        """See `ImageSource.key`."""
        return file_stamps(self._files())

    def unread(self) -> Unread:
        """See `ImageSource.unread`."""
        names = [name for name, _ in self._arrays(content=False) if canonical_name(name) is None]
        path = Path(str(self.root)).expanduser()
        others = sorted(one.name for one in path.iterdir() if one not in self._files()) if path.is_dir() else []
        return {"arrays of other names": names, "other files": others}

    def _files(self) -> list[Path]:
        if self.root is None:
            raise DataError("data=npz needs a file: set data.root=FILE.npz")
        path = Path(self.root).expanduser()
        if not path.exists():
            raise DataError(f"data.root={self.root} does not exist (looked for {path.absolute()})")
        if path.suffix.lower() == ".npy":
            raise DataError(
                f"{path} holds one array; put images and labels into a folder as train_images.npy and "
                "train_labels.npy and name that (data.root=FOLDER), or write one file with numpy.savez"
            )
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        arrays = sorted(one for one in path.iterdir() if _FILES.fullmatch(one.name)) if path.is_dir() else []
        if arrays and not files:
            return arrays
        if len(files) != 1:
            raise DataError(f"data.root={self.root} holds {len(files)} .npz files; name one: data.root=FILE.npz")
        return files

    @property
    def in_files(self) -> bool:
        """See `ImageSource.in_files`."""
        return not self.in_memory

    def stored(self) -> HostImages | None:
        """See `ImageSource.stored`."""
        if self.in_memory:
            return None
        named = {canonical_name(path.name): path for path in self._files() if path.suffix.lower() == ".npy"}
        parts = [part for part in _PARTS if not (part == "val" and self.validation == "leave_out")]
        files = [NpyImages(named[name]) for part in parts if (name := f"{part}_images") in named]
        if not files:
            raise DataError(
                f"data.in_memory=false: data.root={self.root} has no train_images.npy; write each array of images into "
                "a folder with numpy.save, as files with .npz or .gz cannot be read by row"
            )
        rows = NpyRows(files)
        channels, side, _ = rows.image
        if self.image_size not in (None, side) or self.channels not in (None, channels) or self.window is not None:
            raise DataError(
                f"data.in_memory=false: images are trained on as they are stored, {side}x{side} with {channels} "
                "channels; leave out data.image_size, data.channels and data.window, or write files of that shape"
            )
        return HostImages(rows, rows.image)

    def _arrays(self, content: bool = True) -> Iterator[tuple[str, np.ndarray | NpyImages]]:
        """Names, as they are, and arrays; without ``content`` empty ones, which costs nothing."""
        for path in self._files():
            if not _FILES.fullmatch(path.name):
                yield from npz_arrays(path) if content else ((name, np.empty(0)) for name in npz_names(path))
            elif content and not self.in_memory and str(canonical_name(path.name)).endswith("_images"):
                yield path.name, NpyImages(path)
            else:
                if content:
                    _require_memory(path)
                yield path.name, _read_array(path) if content else np.empty(0)

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        path, arrays = self._files()[0], dict[str, Any]()
        given = list(self._arrays())
        for name, array in given:
            known = canonical_name(name)
            if known in arrays:
                raise DataError(f"{path} has two arrays that could be {known}; keep one of them")
            if known:
                arrays[known] = array
        if "train_images" not in arrays:
            found = ", ".join(sorted(name for name, _ in given)) or "nothing"
            raise DataError(f"{path} has no train_images (it holds {found}); MedMNIST's layout is expected")
        return self._items(path, arrays), None

    def _items(self, path: Path, arrays: dict[str, Any]) -> Iterator[Item]:
        for split, part in _PARTS.items():
            images = arrays.get(f"{split}_images")
            if images is None:
                continue
            labels = _labels(path, split, arrays)
            groups = arrays.get(f"{split}_groups", np.full(len(labels), None)).ravel().tolist()
            if not len(images) == len(labels) == len(groups):
                other = f"{len(labels)} labels" if len(images) != len(labels) else f"{len(groups)} groups"
                raise DataError(f"{path}: {split} has {len(images)} images and {other}; they must match")
            for i, (image, label, group) in enumerate(zip(images, labels, groups, strict=True)):
                yield Item(f"{path}: {split}_images[{i}]", image, label, part, group=group)


def canonical_name(name: str) -> str | None:
    """MedMNIST's name of an array or file: ``train_images`` for ``x_train.npy`` or ``train-images-idx3-ubyte.gz``.

    >>> canonical_name("y_test.npy"), canonical_name("t10k-labels-idx1-ubyte"), canonical_name("mean")
    ('test_labels', 'test_labels', None)
    """
    stem = re.sub(r"(\.npy|[.-]idx\d-ubyte(\.gz)?)$", "", name.lower()).replace("t10k", "test")
    words = re.split(r"[^a-z]+", stem)
    kind = next((kind for kind, known in _KINDS.items() if known & set(words)), None)
    part = next((part for word in words if (part := part_of(word))), "train")
    return f"{'val' if part == 'validation' else part}_{kind}" if kind else None


def npz_names(path: Path) -> list[str]:
    """The names of the arrays of a ``.npz`` file; errors as `npz_arrays`."""
    with _readable(path), np.load(path, allow_pickle=False) as archive:
        if isinstance(archive, np.ndarray):
            raise ValueError("one array, no archive")
        for member in archive.zip.infolist():
            _check_size(member, archive.zip)
        return list(archive.files)


def npz_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and content of each array of a ``.npz`` file, read one at a time.

    Raises:
        DataError: the file is missing, damaged, or holds pickled objects.
    """
    for name in npz_names(path):
        with _readable(path), np.load(path, allow_pickle=False) as archive:
            array = archive[name]
        yield name, array


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
            f"{archive.filename}: {member.filename} asks for {size:,} bytes and has {member.compress_size:,}, as no "
            "real images do; write the archive again with numpy.savez, which does not compress"
        )


def _require_memory(path: Path) -> None:
    """Refuse a file of which the memory cannot hold two copies: as it is read, and as the data set has it."""
    free, size = free_bytes(torch.device("cpu")), path.stat().st_size
    if free is not None and _COPIES * size > free:
        raise DataError(
            f"{path} has {in_words(size)} and is read into memory {_COPIES} times, of which {in_words(free)} are free; "
            "set data.in_memory=false, with which uint8 images stay in .npy files"
        )


def _read_array(path: Path) -> np.ndarray:
    """A ``.npy`` or IDX file."""
    with _readable(path):
        if path.suffix.lower() == ".npy":
            array: np.ndarray = np.load(path, allow_pickle=False)
            return array
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            zero, kind, dimensions = int.from_bytes(file.read(2)), *file.read(2)
            shape = tuple(np.frombuffer(file.read(4 * dimensions), ">u4").tolist())
            data = file.read()
        if zero or kind not in _IDX_TYPES:
            raise ValueError("no IDX file")
        return np.frombuffer(data, _IDX_TYPES[kind]).reshape(shape)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Within it, errors of reading ``path`` are one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have no common base
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path} holds arrays of Python objects, which are not read, since reading them can run code; save "
                "plain arrays: numbers, or text by labels.astype(str)"
            ) from error
        what = "array" if _FILES.fullmatch(path.name) else ".npz file"
        raise DataError(
            f"{path} is not a readable {what} ({first_line(error)}); write plain arrays with numpy.savez"
        ) from error


def _labels(path: Path, split: str, arrays: dict[str, np.ndarray]) -> list[Label]:
    labels = arrays.get(f"{split}_labels")
    if labels is None:
        raise DataError(f"{path} has {split}_images but no {split}_labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iubU":
        one_hot = labels.ndim == 2 and labels.dtype.kind in "iubf" and bool(((labels != 0).sum(1) == 1).all())
        mend = "save labels.argmax(1)" if one_hot else "several labels per image are not supported: give one class"
        raise DataError(
            f"{path}: {split}_labels must be integers or text (N,) or (N, 1), not {labels.dtype} "
            f"{labels.shape} ({mend})"
        )
    values: list[Label] = labels.tolist() if labels.dtype.kind == "U" else labels.astype(np.int64).tolist()
    return values

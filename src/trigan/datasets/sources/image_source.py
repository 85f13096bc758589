"""The base class of all sources: it lists images, decodes them once and returns one checked data set."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from trigan.datasets.sources.cache import cached
from trigan.datasets.sources.closed import refuse_if_closed
from trigan.datasets.sources.decode import Geometry, decode
from trigan.datasets.types import MIN_IMAGE_SIZE, ImageDataset, fingerprint_of, image_digest, stack_digests
from trigan.errors import DataError, is_printable

Part = Literal["train", "unlabelled", "test"]
Label = int | str | None


@dataclass(frozen=True, eq=False)
class Item:
    """One image before decoding: bytes, a file, or pixels uint8 (H, W[, C]); ``location`` names it in errors.

    ``group`` is what it shares with others (a patient).
    """

    location: str
    data: bytes | Path | np.ndarray
    label: Label
    part: Part
    group: int | str | None = None


@dataclass(eq=False)
class ItemDecoder:
    """Decodes items and records sizes and locations; if ``tolerant``, also the errors of unusable images."""

    tolerant: bool = False
    unreadable: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    locations: list[str] = field(default_factory=list)

    def decode(self, item: Item) -> np.ndarray | None:
        """The pixels of ``item``; None if it is unusable and the decoder is tolerant.

        An image with a side under 8 pixels is a stray file or a mistake.
        """
        try:
            pixels = decode(item.data, item.location)
            height, width, _ = pixels.shape
            if min(height, width) < MIN_IMAGE_SIZE:
                raise DataError(
                    f"{item.location} is {width}x{height} pixels, and the minimum is "
                    f"{MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE}; remove it (`trigan data check` lists all of them)"
                )
        except DataError as error:
            if not self.tolerant:
                raise
            self.unreadable.append(str(error))
            return None
        self.sizes[(width, height)] += 1
        self.locations.append(item.location)
        return pixels


@dataclass(frozen=True, kw_only=True)
class ImageSource(ABC):
    """A kind of source. Subclasses are frozen dataclasses that list their items.

    Attributes:
        image_size: side to resize to, 8 to 128; None: as the images are (then all must have one size).
        channels: 1, 3 or None (1 if all images are grey, else 3).
    """

    image_size: int | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        _ = self.geometry  # refuses impossible sizes early

    @property
    def geometry(self) -> Geometry:
        """The requested size and channels."""
        return Geometry(self.image_size, self.channels)

    @property
    @abstractmethod
    def name(self) -> str:
        """Display name."""

    @abstractmethod
    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """The items (training, unlabelled, test, in source order) and, if known, the names of integer labels."""

    def key(self) -> Any:
        """JSON data that change whenever the items could (settings, file stamps); None: decoding needs no cache."""
        return None

    def paths(self) -> list[str] | None:
        """Image files relative to the source's folder, in source order; None if images are not single files."""
        return None

    def load(self, cache: Path | None = None) -> ImageDataset:
        """Read, check and fingerprint the data set, or take it from the ``cache`` folder.

        Raises:
            DataError: the data are missing, unreadable or unusable.
        """
        key = self.key()
        identity = [type(self).__name__, self.name, self.image_size, self.channels, key]
        return cached(None if key is None else cache, identity, lambda: self.read(ItemDecoder()))

    def read(self, decoder: ItemDecoder) -> ImageDataset:
        """Decode and fingerprint all items without the cache.

        Raises:
            DataError: unreadable images, mixed sizes or no images; see also `ImageDataset`.
        """
        refuse_if_closed()
        items, class_names = self.listing()
        labels: list[Label] = []
        is_test: list[bool] = []
        digests: list[bytes] = []
        groups: list[int | str | None] = []
        images: list[np.ndarray] = []
        for item in items:
            pixels = decoder.decode(item)
            if pixels is not None:
                labels.append(item.label)
                is_test.append(item.part == "test")
                groups.append(item.group)
                digests.append(image_digest(pixels))
                images.append(self.geometry.fit(pixels))
        if not images:
            raise DataError(f"{self.name}: no {'readable ' if decoder.unreadable else ''}images found; check data.root")
        numbers, names = encode_labels(labels, class_names, self.name)
        rows, targets = stack_digests(digests), torch.from_numpy(numbers)
        official_test = torch.tensor(is_test) if any(is_test) else None
        grouped = _encode_groups(groups)
        fingerprint = fingerprint_of(rows, targets, official_test, grouped)
        stacked = torch.from_numpy(self._stack(images, decoder))
        return ImageDataset(self.name, stacked, targets, names, fingerprint, rows, official_test, grouped)

    def _stack(self, images: list[np.ndarray], decoder: ItemDecoder) -> np.ndarray:
        """Pixels (S, S, c) as uint8 (N, C, S, S); grey among colour images becomes three equal channels."""
        side = images[0].shape[0]
        if any(image.shape[0] != side for image in images):
            common = ", ".join(f"{width}x{height}" for (width, height), _ in decoder.sizes.most_common(3))
            raise DataError(
                f"{self.name}: images have {len(decoder.sizes)} sizes ({common}, ...); set data.image_size=32 (8..128)"
            )
        stacked = np.empty((len(images), max(image.shape[2] for image in images), side, side), dtype=np.uint8)
        for row, image in zip(stacked, images, strict=True):
            row[:] = image.transpose(2, 0, 1)
        return stacked


def _encode_groups(groups: Sequence[int | str | None]) -> torch.Tensor | None:
    """The groups as int64 (N,), numbered by their sorted names, -1 for an image alone; None if no image has one."""
    values = sorted({str(group) for group in groups if group is not None})
    numbers = {value: number for number, value in enumerate(values)}
    return torch.tensor([numbers.get(str(group), -1) for group in groups]) if values else None


def encode_labels(
    labels: Sequence[Label], names: Sequence[str] | None, location: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels int64 (N,) in 0..K-1 or -1, and the K class names.

    The classes are the labels that occur: text in sorted order, numbers in numeric order (with ``names``, number i is
    ``names[i]``). So gaps close up, and a name without any image is no class. None and -1 mean "no label".

    Raises:
        DataError: numbers outside ``names``, other negative numbers, or text mixed with numbers.
    """
    values = {label for label in labels if label is not None and label != -1}
    numbers = sorted(value for value in values if not isinstance(value, str))
    if 0 < len(numbers) < len(values):
        raise DataError(f"{location}: some labels are text and some are numbers; use one kind")
    highest = float("inf") if names is None else len(names) - 1
    for value in numbers:
        if not 0 <= value <= highest:
            allowed = "0 or more" if names is None else f"0..{highest}"
            raise DataError(
                f"{location}: label {value} is out of range ({allowed}, or -1 for none); correct the label column"
            )
    classes = sorted(values)
    class_names = tuple(str(value) if names is None or isinstance(value, str) else names[value] for value in classes)
    if odd := [name for name in class_names if not is_printable(name)]:
        raise DataError(f"{location}: the class name {odd[0]!r} has a control character; rename the class")
    numbered: dict[Label, int] = {value: k for k, value in enumerate(classes)}
    return np.array([numbered.get(label, -1) for label in labels], dtype=np.int64), class_names


def existing_folder(root: str | None, kind: str) -> Path:
    """The folder that ``data.root`` names.

    Raises:
        DataError: it is not set, missing or not a folder.
    """
    if root is None:
        raise DataError(f"data={kind} needs a folder: set data.root=FOLDER")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DataError(f"data.root={root} does not exist (looked for {folder.absolute()})")
    if not folder.is_dir():
        raise DataError(f"data.root={root} is a file; name the folder that holds the data")
    return folder


def file_stamps(files: Sequence[Path]) -> list[list[Any]]:
    """Absolute path, size and modification time (ns) of each file, for cache keys."""
    stats = [(path, path.stat()) for path in files]
    return [[str(path.absolute()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]

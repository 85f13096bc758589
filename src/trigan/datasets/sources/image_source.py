"""The base class of all sources: it lists images, decodes them once and returns one checked data set."""

import logging
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from trigan.checks import require
from trigan.datasets.host_images import HostImages
from trigan.datasets.sources.cache import cached, cached_facts
from trigan.datasets.sources.closed import refuse_if_closed
from trigan.datasets.sources.decode import Window, decode
from trigan.datasets.sources.folder_scan import Part, Unread, describe_unread, examples, folded
from trigan.datasets.sources.geometry import Fit, Geometry
from trigan.datasets.types import (
    MIN_IMAGE_SIZE,
    ImageDataset,
    fingerprint_of,
    identity_of,
    image_digest,
    stack_digests,
)
from trigan.errors import DataError, printable

Label = int | str | None
#: How many files of a source are sampled for its cache key, and how many bytes at either end of each.
_SAMPLED, _SAMPLE_BYTES = 2000, 4096
#: Data sets, and lines that this process has said of them.
_said: set[tuple[str, str]] = set()
#: Data sets in files of whose size it has told.
_told_of_size: set[str] = set()

_log = logging.getLogger("trigan")


@dataclass(frozen=True, eq=False)
class Item:
    """One image before decoding: bytes, a file, or pixels uint8 (H, W[, C]); ``location`` names it in errors.

    ``note`` tells what a user should know of how it is read; ``group`` is what it shares with others (a patient).
    """

    location: str
    data: bytes | Path | np.ndarray
    label: Label
    part: Part
    note: str = ""
    group: int | str | None = None


@dataclass(eq=False)
class ItemDecoder:
    """Decodes items and records sizes and locations; if ``tolerant``, also the errors of unusable images."""

    tolerant: bool = False
    unreadable: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    locations: list[str] = field(default_factory=list)
    dimensions: list[tuple[int, int]] = field(default_factory=list)
    extremes: list[tuple[int, int]] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def decode(self, item: Item, window: Window | None = None) -> np.ndarray | None:
        """The pixels of ``item``; None if it is unusable and the decoder is tolerant.

        An image with a side under 8 pixels is a stray file or a mistake.
        """
        try:
            notes = [item.note] if item.note else []
            pixels = decode(item.data, item.location, window, notes)
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
        self.dimensions.append((width, height))
        if self.tolerant:
            self.extremes.append((int(pixels.min()), int(pixels.max())))
        for note in notes:
            self.notes.setdefault(note, []).append(item.location)
        return pixels

    def told(self) -> tuple[str, ...]:
        """A line for each note, with the number of images that it holds for, and examples."""
        return tuple(f"{note}: {len(found)} images ({examples(found)})" for note, found in self.notes.items())


@dataclass(frozen=True, kw_only=True)
class ImageSource(ABC):
    """A kind of source. Subclasses are frozen dataclasses that list their items.

    Attributes:
        image_size: side to resize to, 8 to 512; None: as the images are (then all must have one size).
        channels: 1, 3 or None (1 if all images are grey, else 3).
        fit: an image that is not square is cut to its centre (``crop``) or padded with black (``pad``).
        window: lowest and highest value of 16-bit, floating-point and DICOM images, which become 0 and 255; values
            beyond are clipped. None: the whole range of 16 bits.
        validation: what becomes of the source's own validation images: ``keep``: the regime takes its validation
            labels from them; ``merge``: they join the training images, of which the regime takes its own;
            ``leave_out``: they are not read. Configs say ``keep``; the default of the class is part of old hashes.
    """

    image_size: int | None = None
    channels: int | None = None
    fit: Fit = "crop"
    window: Window | None = None
    validation: Literal["keep", "merge", "leave_out"] = "merge"

    def __post_init__(self) -> None:
        _ = self.geometry  # refuses impossible sizes early
        window = self.window
        require(window is None or (len(window) == 2 and window[0] < window[1]), "data.window", window, "[LOW, HIGH]")
        known = ("keep", "merge", "leave_out")
        require(self.validation in known, "data.validation", self.validation, "keep, merge or leave_out")

    @property
    def geometry(self) -> Geometry:
        """The requested size and channels."""
        return Geometry(self.image_size, self.channels, self.fit)

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

    def unread(self) -> Unread:
        """What lies beside the images and is not read: locations by reason."""
        return {}

    @property
    def in_files(self) -> bool:
        """Whether images stay in their files, as `stored` gives them, and are not decoded into memory."""
        return False

    def stored(self) -> HostImages | None:
        """The images, in the order of `listing`, if they are ``in_files``."""
        return None

    def names_are_own(self) -> bool:
        """Whether class names are chosen by whoever has the data, so that they belong to the data's identity."""
        return False

    def load(self, cache: Path | None = None) -> ImageDataset:
        """Read, check and fingerprint the data set, or take it from the ``cache`` folder.

        What is not read, and how images are read that need a choice, is a warning, once in a process.

        Raises:
            DataError: the data are missing, unreadable or unusable.
        """
        key = self.key()
        _say(self.name, describe_unread(self.unread()))
        stored = self.stored()
        if stored is not None and self.name not in _told_of_size:
            _told_of_size.add(self.name)
            size, one = stored.numel() / 1e9, stored.numel() / len(stored) / 1e3
            _log.info(
                "%s: %d images of %.1f kB, %.1f GB in all, stay in their files", self.name, len(stored), one, size
            )
        read = partial(self.read, ItemDecoder())
        dataset = cached(None if key is None else cache, self._cache_key(key), read, stored)
        _say(self.name, *dataset.notes)
        return dataset

    def known(self, cache: Path) -> tuple[str, list[str]] | None:
        """The identity of the data set and what `load` would warn of, if it is in the ``cache``; imports no library."""
        facts = cached_facts(cache, self._cache_key(self.key()))
        if facts is None:
            return None
        identity = identity_of(*(facts[name] for name in ("fingerprint", "class_names", "names_are_own")))
        lines = [describe_unread(self.unread()), *facts["notes"]]
        return identity, [f"{self.name}: {line}" for line in lines if line]

    def _cache_key(self, key: Any) -> list[Any]:
        choices = [self.fit, self.window, self.validation, *(["in files"] if self.in_files else [])]
        return [type(self).__name__, self.name, self.image_size, self.channels, choices, key]

    def read(self, decoder: ItemDecoder) -> ImageDataset:
        """Decode and fingerprint all items without the cache.

        Raises:
            DataError: unreadable images, mixed sizes or no images; see also `ImageDataset`.
        """
        refuse_if_closed()
        listed, class_names = self.listing()
        items: list[Item] = []
        digests: list[bytes] = []
        images: list[np.ndarray] = []
        left_out, stored = 0, self.stored()
        for item in listed:
            if item.part == "validation" and self.validation == "leave_out":
                left_out += 1
                continue
            pixels = decoder.decode(item, self.window)
            if pixels is not None:
                items.append(replace(item, data=b""))
                digests.append(image_digest(pixels))
                if stored is None:
                    images.append(self.geometry.fit(pixels))
        if not items:
            raise DataError(f"{self.name}: no {'readable ' if decoder.unreadable else ''}images found; check data.root")
        numbers, names = encode_labels([item.label for item in items], class_names, self.name)
        _refuse_two_spellings(items, self.name)
        rows, targets = stack_digests(digests), torch.from_numpy(numbers)
        is_test = torch.tensor([item.part == "test" for item in items])
        official_test = is_test if is_test.any() else None
        is_validation = torch.tensor([item.part == "validation" for item in items])
        official_validation = is_validation if self.validation == "keep" and is_validation.any() else None
        groups = _encode_groups(items)
        return ImageDataset(
            name=self.name,
            images=torch.from_numpy(self._stack(images, decoder)) if stored is None else stored,
            labels=targets,
            class_names=names,
            fingerprint=fingerprint_of(rows, targets, official_test, groups, official_validation),
            digests=rows,
            official_test=official_test,
            groups=groups,
            notes=(*decoder.told(), *self._validation_notes(items, left_out)),
            names_are_own=self.names_are_own(),
            official_validation=official_validation,
        )

    def _validation_notes(self, items: Sequence[Item], left_out: int) -> Iterator[str]:
        found = sum(item.part == "validation" for item in items)
        if found and self.validation == "merge":
            yield f"{found} validation images join the training images (data.validation=merge)"
        elif found:
            yield (
                f"validation labels come from the {found} validation images; those that regime.validation does not "
                "ask for are not used (data.validation=merge trains on them)"
            )
        if left_out:
            yield f"{left_out} validation images are not read (data.validation=leave_out)"

    def _stack(self, images: list[np.ndarray], decoder: ItemDecoder) -> np.ndarray:
        """Pixels (S, S, c) as uint8 (N, C, S, S); grey among colour images becomes three equal channels."""
        side = images[0].shape[0]
        if any(image.shape[0] != side for image in images):
            common = ", ".join(f"{width}x{height}" for (width, height), _ in decoder.sizes.most_common(3))
            raise DataError(
                f"{self.name}: images have {len(decoder.sizes)} sizes ({common}, ...); set data.image_size=32 (8..512)"
            )
        stacked = np.empty((len(images), max(image.shape[2] for image in images), side, side), dtype=np.uint8)
        for row, image in zip(stacked, images, strict=True):
            row[:] = image.transpose(2, 0, 1)
        return stacked


def _say(name: str, *lines: str) -> None:
    """Each line as a warning, once in a process."""
    for line in lines:
        if line and (name, line) not in _said:
            _said.add((name, line))
            _log.warning("%s: %s", name, line)


def mark_said(name: str, *lines: str) -> None:
    """Lines that the user has seen elsewhere: `ImageSource.load` does not say them again."""
    _said.update((name, line) for line in lines)


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
    class_names = tuple(
        printable(str(value) if names is None or isinstance(value, str) else names[value]) for value in classes
    )
    twice = [name for name, count in Counter(class_names).items() if count > 1]
    if twice:
        raise DataError(f"{location}: two classes are called '{twice[0]}'; give each class a name of its own")
    numbered: dict[Label, int] = {value: k for k, value in enumerate(classes)}
    return np.array([numbered.get(label, -1) for label in labels], dtype=np.int64), class_names


def _refuse_two_spellings(items: Sequence[Item], location: str) -> None:
    """Refuse a class of another part that differs from one of the training images by its spelling alone."""
    training = {item.label for item in items if item.part == "train" and isinstance(item.label, str)}
    known = {folded(str(label)): label for label in training}
    for item in items:
        label = item.label
        if isinstance(label, str) and label not in training and folded(label) in known:
            raise DataError(
                f"{location}: the class '{printable(label)}' of the {item.part} images and '"
                f"{printable(str(known[folded(label)]))}' of the training images differ in their spelling alone "
                "(case, spaces or Unicode form); rename one"
            )


def _encode_groups(items: Sequence[Item]) -> torch.Tensor | None:
    """Groups as int64 (N,), numbered in sorted order, -1 for an image that shares nothing; None without any."""
    values = sorted({str(item.group) for item in items if item.group is not None})
    if not values:
        return None
    numbers = {value: k for k, value in enumerate(values)}
    return torch.tensor([-1 if item.group is None else numbers[str(item.group)] for item in items])


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
    """Path, size, times of content and of inode (ns), inode and a sample of the content of each file, for cache keys.

    A file that was swapped for another of equal size and time has another inode and change time; file systems that do
    not keep these leave the sample. Of more than `_SAMPLED` files evenly spaced ones are sampled.
    """
    stride = -(-len(files) // _SAMPLED) or 1
    return [_stamp(path, sampled=row % stride == 0) for row, path in enumerate(files)]


def _stamp(path: Path, sampled: bool) -> list[Any]:
    stat = path.stat()
    sample = 0
    if sampled:
        with path.open("rb") as file:
            sample = zlib.crc32(file.read(_SAMPLE_BYTES))
            file.seek(max(0, stat.st_size - _SAMPLE_BYTES))
            sample = zlib.crc32(file.read(_SAMPLE_BYTES), sample)
    return [str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, sample]

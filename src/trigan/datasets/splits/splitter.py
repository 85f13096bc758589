"""The parts of a split, their description for the record, and the base of both ways to make one: a draw and a file."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trigan.datasets.host_images import HostImages
from trigan.datasets.splits.groups import group_numbers
from trigan.datasets.splits.sealed_test import SealedTest
from trigan.datasets.types import ImageDataset, LabelledImages, TrainingView

#: The parts of a split, and those with visible labels.
PARTS = ("labelled", "validation", "unlabelled", "test")
LABELLED_PARTS = ("labelled", "validation")


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a split as source indices, int64 each, without pixels or labels."""

    labelled: np.ndarray
    validation: np.ndarray
    unlabelled: np.ndarray
    test: np.ndarray

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and indices of each part."""
        yield from ((name, getattr(self, name)) for name in PARTS)


@dataclass(frozen=True)
class PartInfo:
    """One part of a split: its `index_digest`, and images per class by visible labels (None where hidden)."""

    size: int
    sha256: str
    class_counts: list[int] | None = None


@dataclass(frozen=True)
class HeldOutInfo:
    """Classes that are no part of the task: their names, whether they are in the unlabelled pool, and their images.

    ``images``: the test images of these classes, on which novelty is scored.
    """

    classes: tuple[str, ...]
    in_pool: bool
    images: PartInfo


@dataclass(frozen=True)
class SplitInfo:
    """Description of a split, for the record.

    Attributes:
        n_train: images of the training pool before the regime: the n_train of Nadeau-Bengio's correction, which is
            about how much the test sets of two trials overlap.
        test_redrawn: whether each trial draws its own test set (the source has no official one).
        dropped_in_test: training images dropped because the test set has the same pixels.
        dropped_duplicates: copies dropped because the border between two parts split a set of equal images, or because
            copies carry different labels.
        labels_changed: labels that the regime's noise changed, training and validation together.
        groups: number of groups in the data set (``all``) and in each part, and of images that are ``left_out`` because
            their group is in another part; None if the data set has no groups.
        stamps: marks that tables print, such as "val-large".
        held_out: classes that are no part of the task; None without any.
    """

    fingerprint: str
    trial: int
    labelled: PartInfo
    validation: PartInfo
    unlabelled: PartInfo
    test: PartInfo
    test_redrawn: bool
    n_train: int
    dropped_in_test: int
    dropped_duplicates: int
    labels_changed: int
    stamps: tuple[str, ...] = ()
    groups: dict[str, int] | None = None
    held_out: HeldOutInfo | None = None

    def as_record(self) -> dict[str, Any]:
        """The description as plain data; without ``held_out`` where there is none."""
        return {key: value for key, value in asdict(self).items() if key != "held_out" or value is not None}


@dataclass(frozen=True, eq=False)
class HeldOutImages:
    """The test images of held-out classes: their source indices int64 (n,), and themselves under a seal of their own.

    Their labels are the source's numbers of classes.
    """

    rows: np.ndarray
    sealed: SealedTest


@dataclass(frozen=True)
class ExternalDataInfo:
    """Another data set used for training; ``dropped_in_test`` images were left out as pixels of this test set."""

    name: str
    fingerprint: str
    images: int
    dropped_in_test: int


@dataclass(frozen=True, eq=False)
class DataSplit:
    """The split of a trial, with the source indices of its parts.

    ``split_file_digest`` is None for a drawn split; ``external`` describes the other data set in the view, if any.
    ``test_groups``: the group of each test image, int64 (n,), if the data set has groups. ``class_names`` are those of
    the task, and ``class_numbers`` their numbers for each class of the source, int64 (K,), -1 for a held-out one.
    ``held_out``: the test images of held-out classes.
    """

    view: TrainingView
    test: SealedTest
    info: SplitInfo
    parts: Parts
    class_names: tuple[str, ...]
    class_numbers: np.ndarray
    split_file_digest: str | None = None
    external: ExternalDataInfo | None = None
    test_groups: np.ndarray | None = None
    held_out: HeldOutImages | None = None

    def task_labels(self, labels: np.ndarray) -> np.ndarray:
        """The numbers of the task's classes for labels of the source (N,); -1 for a held-out class or no label."""
        return np.where(labels >= 0, self.class_numbers[labels], -1)


class Splitter:
    """A data set in one trial; counts what is dropped while its parts are made."""

    def __init__(self, source: ImageDataset, trial: int) -> None:
        self.source, self.trial = source, trial
        self.labels = source.labels.numpy()
        self.class_names, self.class_numbers = source.class_names, np.arange(len(source.class_names))
        self.first_copies = find_first_copies(source)
        self.groups = group_numbers(source)
        self.left_out = 0
        self.dropped_in_test = 0
        self.dropped_duplicates = 0
        self.n_train = 0

    @property
    def classes(self) -> int:
        """The number of classes of the task."""
        return len(self.class_names)

    def without_label_conflicts(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` without copies whose label differs from the first label of the same pixels."""
        first_label = np.full(len(self.labels), -1)
        labelled = rows[self.labels[rows] >= 0][::-1]
        first_label[self.first_copies[labelled]] = self.labels[labelled]
        agree: np.ndarray = self.labels[rows] == first_label[self.first_copies[rows]]
        self.dropped_duplicates += int((~agree).sum())
        return np.compress(agree, rows)

    def shuffled(self, rows: np.ndarray, purpose: str) -> np.ndarray:
        """``rows`` in hash order, independent of their classes; equal images are adjacent, in source order."""
        firsts, inverse = np.unique(self.first_copies[rows], return_inverse=True)
        keys = hash_keys(self.source, self.trial, purpose, firsts)[:, 0][inverse]
        return rows[np.lexsort((rows, self.first_copies[rows], keys))]

    def build_split(
        self, parts: Parts, labels: tuple[np.ndarray, np.ndarray], stamps: tuple[str, ...], file: str | None = None
    ) -> DataSplit:
        """Copy the parts out of the source and describe them.

        ``labels`` are those of the labelled and of the validation images, noise included; ``file`` is the digest of
        the split file that gave the parts.
        """
        train, validation = self._copy(parts.labelled, labels[0]), self._copy(parts.validation, labels[1])
        rows = np.concatenate([parts.labelled, parts.unlabelled])
        position = np.empty(len(self.labels), dtype=np.int64)
        position[rows] = np.arange(len(rows))
        view = TrainingView(
            replace(self.source.spec, classes=self.classes),
            train,
            validation if len(validation) else None,
            self._pixels(parts.unlabelled),
            torch.from_numpy(position[self.shuffled(rows, "training images")]),
        )
        clean = self.labels[np.concatenate([parts.labelled, parts.validation])]
        info = SplitInfo(
            fingerprint=self.source.fingerprint,
            trial=self.trial,
            labelled=self._part_info(parts.labelled, train),
            validation=self._part_info(parts.validation, validation),
            unlabelled=self._part_info(parts.unlabelled),
            test=self._part_info(parts.test),
            test_redrawn=self.source.official_test is None,
            n_train=self.n_train,
            dropped_in_test=self.dropped_in_test,
            dropped_duplicates=self.dropped_duplicates,
            labels_changed=int((clean != np.concatenate(labels)).sum()),
            stamps=stamps,
            groups=self._group_counts(parts),
        )
        test = SealedTest(self._copy(parts.test, self.labels[parts.test]))
        groups = None if self.groups is None else self.groups[parts.test]
        task = self.class_names, self.class_numbers
        return DataSplit(view, test, info, parts, *task, file, test_groups=groups)

    def _group_counts(self, parts: Parts) -> dict[str, int] | None:
        if self.groups is None:
            return None
        by_part = {name: len(np.unique(self.groups[rows])) for name, rows in parts.items()}
        return {"all": int(self.groups.max()) + 1, **by_part, "left_out": self.left_out}

    def _copy(self, rows: np.ndarray, labels: np.ndarray) -> LabelledImages:
        return LabelledImages(self._pixels(rows), torch.from_numpy(labels.copy()))

    def _pixels(self, rows: np.ndarray) -> Tensor:
        return self.source.images.index_select(0, torch.from_numpy(rows))

    def _part_info(self, rows: np.ndarray, visible: LabelledImages | None = None) -> PartInfo:
        counts = None if visible is None else torch.bincount(visible.labels, minlength=self.classes).tolist()
        return PartInfo(len(rows), index_digest(rows), counts)


def hash_keys(source: ImageDataset, trial: int, purpose: str, rows: np.ndarray) -> np.ndarray:
    """Keys uint64 (n, 2) of the images with source indices ``rows`` (n,): no library's shuffle decides which test.

    The key of an image is the first 16 bytes of SHA-256(fingerprint "/" trial "/" purpose "/" digest of the image),
    read as two big-endian 64-bit numbers. The digest is that of the decoded pixels before resizing, so a trial draws
    the same images at every image size.
    """
    prefix = f"{source.fingerprint}/{trial}/{purpose}/".encode()
    digests = source.digests.numpy()[rows]
    keys = b"".join(hashlib.sha256(prefix + digest.tobytes()).digest()[:16] for digest in digests)
    return np.frombuffer(keys, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def find_first_copies(dataset: ImageDataset) -> np.ndarray:
    """For each image the index of the first image with the same pixels, int64 (N,)."""
    # images in files have not been resized: equal digests are equal pixels, and nothing is read
    compared = dataset.digests if isinstance(dataset.images, HostImages) else dataset.images
    first: dict[bytes, int] = {}
    digests = (hashlib.sha256(row.data).digest() for row in compared.flatten(1).numpy())
    return np.array([first.setdefault(digest, i) for i, digest in enumerate(digests)], dtype=np.int64)


def index_digest(rows: np.ndarray) -> str:
    """SHA-256 of an index set: sorted, as little-endian int64."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()


def split_summary(info: SplitInfo) -> str:
    """The sizes of the parts: ``70 labelled (7 of each class), 0 for validation, 1188 unlabelled, 539 test``."""
    words = []
    for name in PARTS:
        part: PartInfo = getattr(info, name)
        counts = part.class_counts if part.size else None
        low, high = (min(counts), max(counts)) if counts else (0, 0)
        classes = "" if not counts else f" ({low} of each class)" if low == high else f" ({low} to {high} of a class)"
        groups = f" of {info.groups[name]} groups" if info.groups else ""
        words.append(f"{part.size} {'for ' if name == 'validation' else ''}{name}{classes}{groups}")
    left_out = info.groups["left_out"] if info.groups else 0
    return ", ".join([*words, *([f"{left_out} left out (their group is in another part)"] if left_out else [])])

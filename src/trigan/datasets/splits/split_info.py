"""The record's description of a split: sizes, index digests and class counts, as plain values."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PartInfo:
    """One part of a split: its `index_digest`, and images per class by visible labels (None where hidden)."""

    size: int
    sha256: str
    class_counts: list[int] | None = None


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
        stamps: marks that tables print, such as "val-large".
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


@dataclass(frozen=True)
class ExternalDataInfo:
    """Another data set used for training; ``dropped_in_test`` images were left out as pixels of this test set."""

    name: str
    fingerprint: str
    images: int
    dropped_in_test: int


def index_digest(rows: np.ndarray) -> str:
    """SHA-256 of an index set: sorted, as little-endian int64."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()


def split_summary(info: SplitInfo) -> str:
    """The sizes of the parts: ``70 labelled (7 of each class), 0 for validation, 1188 unlabelled, 539 test``."""
    words = []
    for name in ("labelled", "validation", "unlabelled", "test"):
        part: PartInfo = getattr(info, name)
        counts = part.class_counts if part.size else None
        low, high = (min(counts), max(counts)) if counts else (0, 0)
        classes = "" if not counts else f" ({low} of each class)" if low == high else f" ({low} to {high} of a class)"
        words.append(f"{part.size} {'for ' if name == 'validation' else ''}{name}{classes}")
    return ", ".join(words)

"""What is wrong with a data set, all at once: the work behind `trigan data check`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from trigan.data.sources.assemble import ItemDecoder
from trigan.data.sources.image_source import ImageSource
from trigan.data.splits.hash_order import find_first_copies
from trigan.data.types import ImageDataset
from trigan.errors import TriganError

Level = Literal["ok", "warning", "error"]

#: A class with fewer training labels than this is called tiny.
MIN_IMAGES_PER_CLASS = 10
#: So many examples are named in a line.
_SHOWN = 3


@dataclass(frozen=True)
class DataFinding:
    """One line of a report."""

    level: Level
    text: str


@dataclass(frozen=True)
class DataReport:
    """Everything that was found.

    Attributes:
        name: of the data set.
        findings: in the order of the checks.
        class_counts: images per class in ``train`` and ``test`` (if official); empty if it could not be read.
        unlabelled: training images without a label.
        unreadable: one line per unreadable image.
        fingerprint: of what could be read, or None.
    """

    name: str
    findings: tuple[DataFinding, ...]
    class_counts: dict[str, dict[str, int]]
    unlabelled: int
    unreadable: tuple[str, ...]
    fingerprint: str | None

    @property
    def level(self) -> Level:
        """The worst level met."""
        levels = {finding.level for finding in self.findings}
        return "error" if "error" in levels else "warning" if "warning" in levels else "ok"

    def lines(self) -> list[str]:
        """The report as plain text: counts, then findings, then every unreadable image."""
        counts = [
            f"{part}: {sum(by_class.values())} images ({', '.join(f'{k}: {n}' for k, n in by_class.items())})"
            for part, by_class in self.class_counts.items()
        ]
        more = [f"unlabelled: {self.unlabelled} images"] if self.unlabelled else []
        marks = [f"{finding.level}: {finding.text}" for finding in self.findings]
        return [f"{self.name}, fingerprint {self.fingerprint or 'unknown'}", *counts, *more, *marks, *self.unreadable]


def check_data(source: ImageSource) -> DataReport:
    """Decode every image anew and look at labels, classes, values, sizes and duplicates.

    What stops a run (an unreadable image, a single class, mixed sizes) is a finding here; nothing is raised for it.
    """
    decoder = ItemDecoder(tolerant=True)
    try:
        loaded = source.read(decoder)
        name = loaded.name
    except TriganError as error:
        found = (DataFinding("error", str(error)), *_files(decoder), *_sizes(decoder))
        return DataReport(type(source).__name__, found, {}, 0, tuple(decoder.unreadable), None)
    findings = (
        *_files(decoder),
        *_sizes(decoder),
        *_classes(loaded),
        *_values(loaded, decoder),
        *_copies(loaded, decoder),
    )
    unlabelled = int((loaded.labels < 0).sum())
    return DataReport(name, findings, _counts(loaded), unlabelled, tuple(decoder.unreadable), loaded.fingerprint)


def _counts(source: ImageDataset) -> dict[str, dict[str, int]]:
    test = (
        source.official_test if source.official_test is not None else torch.zeros_like(source.labels, dtype=torch.bool)
    )
    parts = {"train": ~test & (source.labels >= 0), "test": test}
    return {
        part: dict(zip(source.class_names, _per_class(source, rows), strict=True))
        for part, rows in parts.items()
        if part == "train" or source.official_test is not None
    }


def _per_class(source: ImageDataset, rows: torch.Tensor) -> list[int]:
    return torch.bincount(source.labels[rows], minlength=len(source.class_names)).tolist()


def _files(decoder: ItemDecoder) -> Iterator[DataFinding]:
    if decoder.unreadable:
        yield DataFinding(
            "error", f"{len(decoder.unreadable)} images cannot be used; repair or remove them (listed below)"
        )
    elif decoder.sizes:
        yield DataFinding("ok", f"all {sum(decoder.sizes.values())} images can be read")


def _sizes(decoder: ItemDecoder) -> Iterator[DataFinding]:
    common = ", ".join(f"{width}x{height}: {n}" for (width, height), n in decoder.sizes.most_common(5))
    if len(decoder.sizes) > 1:
        yield DataFinding(
            "warning", f"{len(decoder.sizes)} image sizes ({common}); data.image_size= brings them to one"
        )
    elif decoder.sizes:
        yield DataFinding("ok", f"one image size ({common})")
    if any(width != height for width, height in decoder.sizes):
        yield DataFinding("warning", "images that are not square lose the ends of their longer side")


def _classes(source: ImageDataset) -> Iterator[DataFinding]:
    for part, counts in _counts(source).items():
        empty = [name for name, n in counts.items() if n == 0]
        single = [name for name, n in counts.items() if n == 1]
        tiny = [f"{name} ({n})" for name, n in counts.items() if 1 < n < MIN_IMAGES_PER_CLASS]
        if len(counts) - len(empty) < 2:
            yield DataFinding("error", f"{part}: only one label occurs; two classes or more are needed")
        elif empty:
            yield DataFinding("error" if part == "train" else "warning", f"{part}: no image of {_some(empty)}")
        if single:
            mend = "it cannot train and be tested" if source.official_test is None else "that is very little"
            yield DataFinding("warning", f"{part}: a single image of {_some(single)}; {mend}")
        if tiny:
            yield DataFinding("warning", f"{part}: fewer than {MIN_IMAGES_PER_CLASS} images of {_some(tiny)}")
        if not (empty or single or tiny):
            yield DataFinding("ok", f"{part}: {min(counts.values())} to {max(counts.values())} images in each class")
    if source.official_test is None:
        yield DataFinding("ok", "no official test set: each trial draws its own, 30 % of each class")


def _values(source: ImageDataset, decoder: ItemDecoder) -> Iterator[DataFinding]:
    flat = source.images.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    constant = torch.nonzero(low == high).flatten().tolist()
    black = [row for row in constant if int(high[row]) == 0]
    if black:
        yield DataFinding(
            "warning", f"{len(black)} images are all black: {_some([decoder.locations[row] for row in black])}"
        )
    if len(constant) > len(black):
        rest = [decoder.locations[row] for row in constant if int(high[row]) != 0]
        yield DataFinding("warning", f"{len(rest)} images are of one colour: {_some(rest)}")
    least, most = int(low.min()), int(high.max())
    narrow = most - least < 64
    hint = "; that is a small part of 0..255" if narrow else ""
    yield DataFinding("warning" if narrow else "ok", f"values lie in {least}..{most}{hint}")


def _copies(source: ImageDataset, decoder: ItemDecoder) -> Iterator[DataFinding]:
    first_copies = find_first_copies(source.images)
    repeats = np.flatnonzero(first_copies != np.arange(len(first_copies)))
    if not len(repeats):
        yield DataFinding("ok", "no image occurs twice")
        return
    groups: dict[int, list[int]] = defaultdict(list)
    for row in repeats.tolist():
        groups[int(first_copies[row])].append(row)
    test = source.official_test.tolist() if source.official_test is not None else [False] * len(first_copies)
    kinds: Counter[str] = Counter()
    clashes = []
    for first, others in groups.items():
        rows = [first, *others]
        on_test = sum(test[row] for row in rows)
        kinds["across" if 0 < on_test < len(rows) else "test" if on_test else "train"] += 1
        known = {int(source.labels[row]) for row in rows} - {-1}
        if len(known) > 1:
            names = " and ".join(source.class_names[k] for k in sorted(known))
            clashes.append(f"{decoder.locations[first]} = {decoder.locations[others[0]]} ({names})")
    if kinds["train"] or kinds["test"]:
        inside = f"{kinds['train']} among the training images, {kinds['test']} among the test images"
        yield DataFinding("warning", f"pictures that occur more than once: {inside}; copies stay in one part")
    if kinds["across"]:
        yield DataFinding("warning", f"{kinds['across']} pictures stand in training and test; training drops them")
    if clashes:
        yield DataFinding("warning", f"{len(clashes)} pictures have more than one label: {_some(clashes)}")


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

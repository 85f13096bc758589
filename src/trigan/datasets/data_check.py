"""All problems of a data set at once: the work behind `trigan data check`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import torch

from trigan.datasets.host_images import portions
from trigan.datasets.label_check import SuspiciousLabels, suspicious_labels
from trigan.datasets.sources.folder_scan import examples
from trigan.datasets.sources.image_source import ImageSource, ItemDecoder
from trigan.datasets.splits.groups import group_numbers, refuse_shared_groups
from trigan.datasets.splits.splitter import find_first_copies
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError, TriganError, printable

#: Parts that a source can have itself, other than unlabelled images.
PARTS = ("train", "validation", "test")
Level = Literal["ok", "warning", "error"]
#: A line of a report.
Finding = tuple[Level, str]

#: A class with fewer training labels than this gets a warning.
MIN_IMAGES_PER_CLASS = 10
_MEGAPIXELS = 89
#: Nearly equal pictures: so many of the 64 bits of their hashes differ at most, and of their 8x8 thumbnails the mean.
_HASH_BITS, _THUMBNAIL = 3, 3.0
#: A property of files tells the classes apart if it gives so much of the labels, and the largest class does not.
_TELLING = 0.9
#: The highest value, after division by 257, of 14 bits in a file of 16.
_DARK = 64
#: The share of doubtful labels from which on they are a warning; a few images of any data set are ambiguous.
_DOUBTFUL = 0.01


@dataclass(frozen=True)
class DataReport:
    """The result of a check; ``class_counts`` are images per class in ``train``, ``validation``, ``test`` (if own).

    ``suspicious`` are labels that look wrong, if a probe could look at them.
    """

    name: str
    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...]
    class_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unlabelled: int = 0
    fingerprint: str | None = None
    suspicious: SuspiciousLabels | None = None

    @property
    def level(self) -> Level:
        """The worst level of all findings."""
        levels = {level for level, _ in self.findings}
        return "error" if "error" in levels else "warning" if "warning" in levels else "ok"

    def lines(self) -> list[str]:
        """The report as plain text: counts, then findings, then every unreadable image."""
        counts = [
            f"{part}: {sum(by_class.values())} images ({', '.join(f'{k}: {n}' for k, n in by_class.items())})"
            for part, by_class in self.class_counts.items()
        ]
        unlabelled = [f"unlabelled: {self.unlabelled} images"] if self.unlabelled else []
        findings = [f"{level}: {text}" for level, text in self.findings]
        title = [f"{self.name}, fingerprint {self.fingerprint}"] if self.fingerprint else []
        return [printable(line) for line in (*title, *counts, *unlabelled, *findings, *self.unreadable)]


def check_data(source: ImageSource) -> DataReport:
    """Decode every image and check labels, classes, values, sizes and duplicates.

    Problems that stop a run (an unreadable image, a single class, mixed sizes) become findings; nothing is raised.
    """
    decoder = ItemDecoder(tolerant=True)
    try:
        dataset = source.read(decoder)
    except TriganError as error:
        findings = (("error", str(error)), *_check_files(decoder, "crop", None))
        return DataReport(type(source).__name__, findings, tuple(decoder.unreadable))
    counts, suspicious = _class_counts(dataset), suspicious_labels(dataset)
    findings = (
        *_check_unread(source, dataset),
        *_check_files(decoder, source.fit, source.image_size),
        *_check_classes(counts, redrawn=dataset.official_test is None),
        *_check_values(dataset, decoder),
        *_check_copies(dataset, decoder),
        *_check_near_copies(dataset, decoder),
        *_check_groups(dataset),
        *_check_telling_properties(dataset, decoder),
        *_check_labels(dataset, decoder, suspicious),
    )
    unlabelled = int((dataset.labels < 0).sum())
    unreadable = tuple(decoder.unreadable)
    return DataReport(dataset.name, findings, unreadable, counts, unlabelled, dataset.fingerprint, suspicious)


def class_examples(dataset: ImageDataset, count: int = 12) -> list[np.ndarray]:
    """Up to ``count`` images of each class, evenly spaced in source order, uint8 (n, S, S, C)."""
    images = []
    for k in range(len(dataset.class_names)):
        rows = torch.nonzero(dataset.labels == k)[:, 0]
        chosen = rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()]
        images.append(dataset.images[chosen].movedim(1, 3).numpy())
    return images


def suspicious_examples(
    dataset: ImageDataset, found: SuspiciousLabels, count: int = 12
) -> tuple[list[np.ndarray], list[str]]:
    """The images of labels that look wrong, by pair of given and suggested class, and the names of the pairs.

    Up to ``count`` pairs, uint8 (n, S, S, C) each with n up to ``count``, the most suspicious first.
    """
    by_pair: dict[tuple[int, int], list[int]] = {}
    for row, likely in zip(found.rows, found.likely, strict=True):
        by_pair.setdefault((int(dataset.labels[row]), likely), []).append(row)
    pairs, names = list(by_pair)[:count], dataset.class_names
    images = [dataset.images[by_pair[pair][:count]].movedim(1, 3).numpy() for pair in pairs]
    return images, [f"{names[given]}, looks like {names[likely]}" for given, likely in pairs]


def _class_counts(dataset: ImageDataset) -> dict[str, dict[str, int]]:
    parts, labels, names = _parts(dataset), dataset.labels.numpy(), dataset.class_names
    counts = {}
    for part in (name for name in PARTS if (parts == name).any()):
        of_part = labels[(parts == part) & (labels >= 0)]
        counts[part] = dict(zip(names, np.bincount(of_part, minlength=len(names)).tolist(), strict=True))
    return counts


def _parts(dataset: ImageDataset) -> np.ndarray:
    """The part of each image, one of ``PARTS``, (N,)."""
    parts = np.full(len(dataset.labels), "train", dtype="<U10")
    for name, marks in (("validation", dataset.official_validation), ("test", dataset.official_test)):
        if marks is not None:
            parts[marks.numpy()] = name
    return parts


def _check_unread(source: ImageSource, dataset: ImageDataset) -> Iterator[Finding]:
    for reason, found in sorted(source.unread().items()):
        if found:
            yield "warning", f"not read: {len(found)} {reason} ({examples(found)})"
    for note in dataset.notes:
        yield "warning", note


def _check_files(decoder: ItemDecoder, fit: str, side: int | None) -> Iterator[Finding]:
    sizes = decoder.sizes
    if decoder.unreadable:
        count = len(decoder.unreadable)
        yield "error", f"{count} images cannot be used; repair or remove them (listed below)"
    elif sizes:
        yield "ok", f"all {sum(sizes.values())} images can be read"
    common = ", ".join(f"{width}x{height}: {n}" for (width, height), n in sizes.most_common(5))
    resized = f", resized to {side}x{side} (data.image_size)" if side and set(sizes) != {(side, side)} else ""
    if len(sizes) > 1 and not resized:
        yield "warning", f"{len(sizes)} image sizes ({common}); data.image_size=N resizes all to NxN"
    elif sizes:
        yield "ok", f"{len(sizes) if len(sizes) > 1 else 'one'} image size{'s' * (len(sizes) > 1)} ({common}){resized}"
    if any(width != height for width, height in sizes):
        effect = "get black bars" if fit == "pad" else "lose the ends of their longer side (data.fit=pad keeps them)"
        yield "warning", f"images that are not square {effect}"
    huge = sum(count for (width, height), count in sizes.items() if width * height > _MEGAPIXELS * 1e6)
    if huge:
        yield (
            "warning",
            f"{huge} images of more than {_MEGAPIXELS} megapixels: make them smaller, they are slow to read",
        )


def _check_classes(class_counts: dict[str, dict[str, int]], redrawn: bool) -> Iterator[Finding]:
    for part, counts in class_counts.items():
        empty = [name for name, n in counts.items() if n == 0]
        single = [name for name, n in counts.items() if n == 1]
        small = [f"{name} ({n})" for name, n in counts.items() if 1 < n < MIN_IMAGES_PER_CLASS]
        if len(counts) - len(empty) < 2:
            yield "error", f"{part}: only one label occurs; two classes or more are needed"
        elif empty:
            yield ("error" if part == "train" else "warning"), f"{part}: no image of {examples(empty)}"
        if single:
            effect = "it cannot train and be tested" if redrawn else "that is very little"
            yield "warning", f"{part}: a single image of {examples(single)}; {effect}"
        if small:
            yield "warning", f"{part}: fewer than {MIN_IMAGES_PER_CLASS} images of {examples(small)}"
        if not (empty or single or small):
            least, most = min(counts.values()), max(counts.values())
            yield "ok", f"{part}: {least}{f' to {most}' if most > least else ''} images in each class"
    if redrawn:
        yield "ok", "no official test set: each trial draws its own, 30 % of each class"


def _check_values(dataset: ImageDataset, decoder: ItemDecoder) -> Iterator[Finding]:
    extremes = [torch.aminmax(part.flatten(1), dim=1) for part in portions(dataset.images)]
    low, high = (torch.cat(extreme).numpy() for extreme in zip(*extremes, strict=True))
    for kind, found in (("all black", high == 0), ("of one colour", (low == high) & (high > 0))):
        rows = np.flatnonzero(found)
        if len(rows):
            locations = examples([decoder.locations[row] for row in rows])
            yield "warning", f"{len(rows)} images are {kind}: {locations}"
    wide = {location for note, found in decoder.notes.items() if "8 bits" in note for location in found}
    tops = zip(decoder.locations, decoder.extremes, strict=True)
    dark = {location: top for location, (_, top) in tops if location in wide and 0 < top <= _DARK}
    if dark:
        bits = int((max(dark.values()) - 0.5) * 257).bit_length()
        yield (
            "warning",
            f"{len(dark)} images of 16 bits have no value above {bits} bits and become dark; data.window="
            f"[0,{2**bits - 1}] makes that value white: {examples(list(dark))}",
        )
    lowest, highest = int(low.min()), int(high.max())
    narrow = highest - lowest < 64
    hint = "; that is a small part of 0..255" if narrow else ""
    yield ("warning" if narrow else "ok"), f"values lie in {lowest}..{highest}{hint}"


def _reduced(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean grey of images (n, C, S, S) in fields, (n, 8, 9) and (n, 8, 8)."""
    grey = images.float().mean(1, keepdim=True)
    pool = torch.nn.functional.adaptive_avg_pool2d
    return pool(grey, (8, 9))[:, 0], pool(grey, 8)[:, 0]


def _check_copies(dataset: ImageDataset, decoder: ItemDecoder) -> Iterator[Finding]:
    parts = _parts(dataset)
    first_copies = pd.Series(find_first_copies(dataset))
    kinds: dict[tuple[str, ...], list[str]] = {}
    conflicts = []
    for group in first_copies[first_copies.duplicated(keep=False)].groupby(first_copies).groups.values():
        rows = group.tolist()
        pair = f"{decoder.locations[rows[0]]} = {decoder.locations[rows[-1]]}"
        kinds.setdefault(tuple(name for name in PARTS if name in parts[rows]), []).append(pair)
        labels = sorted(set(dataset.labels[rows].tolist()) - {-1})
        if len(labels) > 1:
            names = " and ".join(dataset.class_names[k] for k in labels)
            conflicts.append(f"{decoder.locations[rows[0]]} = {decoder.locations[rows[1]]} ({names})")
    if not kinds:
        yield "ok", "no image occurs twice"
    for found, copies in sorted(kinds.items()):
        where = f"occur more than once within {found[0]}" if len(found) == 1 else f"are in {' and '.join(found)}"
        kept = "test alone" if "test" in found[1:] else "one part"
        yield "warning", f"{len(copies)} pictures {where}; a run keeps them in {kept}: {examples(copies)}"
    if conflicts:
        yield "warning", f"{len(conflicts)} pictures have more than one label: {examples(conflicts)}"


def _check_near_copies(dataset: ImageDataset, decoder: ItemDecoder) -> Iterator[Finding]:
    """Pictures that differ by compression or brightness alone, by a difference hash (Krawetz 2013).

    Pairs are looked for among neighbours in the order of the hashes, rotated by a quarter four times.
    """
    small, squares = map(torch.cat, zip(*map(_reduced, portions(dataset.images)), strict=True))
    bits, thumbnails = (small[:, :, 1:] > small[:, :, :-1]).flatten(1).numpy(), squares.flatten(1).numpy()
    first_copies = find_first_copies(dataset)
    pairs: set[tuple[int, int]] = set()
    for turn in range(0, 64, 16):
        order = np.lexsort(np.roll(bits, turn, axis=1).T)
        for step in range(1, 9):
            a, b = order[:-step], order[step:]
            near = ((bits[a] != bits[b]).sum(1) <= _HASH_BITS) & (first_copies[a] != first_copies[b])
            near[near] = np.abs(thumbnails[a[near]] - thumbnails[b[near]]).mean(1) <= _THUMBNAIL
            pairs |= {(int(min(pair)), int(max(pair))) for pair in zip(a[near], b[near], strict=True)}
    if pairs:
        shown = [f"{decoder.locations[a]} ~ {decoder.locations[b]}" for a, b in sorted(pairs)]
        parts = _parts(dataset)
        across = sum(parts[a] != parts[b] for a, b in pairs)
        own = dataset.official_test is not None
        where = f"{across} of them in two parts" if own or across else "each trial may part them"
        yield "warning", f"{len(pairs)} pairs of pictures are nearly equal, {where}: {examples(shown)}"


def _check_groups(dataset: ImageDataset) -> Iterator[Finding]:
    groups = group_numbers(dataset)
    if groups is None:
        return
    sizes = np.bincount(groups)
    yield "ok", f"{len(sizes)} groups of {sizes.min()} to {sizes.max()} images; a group is in one part of a split"
    try:
        refuse_shared_groups(dataset, groups)
    except DataError as error:
        yield "error", str(error)
    for k, name in enumerate(dataset.class_names):
        if len(np.unique(groups[dataset.labels.numpy() == k])) == 1:
            yield "warning", f"all images of {name} are in one group, which cannot both train and test"


def _check_telling_properties(dataset: ImageDataset, decoder: ItemDecoder) -> Iterator[Finding]:
    """Properties of files, not of what they show, from which the label of nearly every training image follows."""
    rows = np.flatnonzero((dataset.labels >= 0).numpy() & (_parts(dataset) != "test"))
    labels = pd.Series(dataset.labels.numpy()[rows])
    noted = {note: set(found) for note, found in decoder.notes.items()}
    properties = {
        "the size of the file's image": [decoder.dimensions[row] for row in rows],
        "the ending of the file's name": [decoder.locations[row].rpartition(".")[2][:5] for row in rows],
        "whether it has more than 8 bits": [
            any(decoder.locations[row] in found for note, found in noted.items() if "8 bits" in note) for row in rows
        ],
        "its lowest value": [decoder.extremes[row][0] for row in rows],
        "its highest value": [decoder.extremes[row][1] for row in rows],
    }
    largest = labels.value_counts(normalize=True).max()
    for name, values in properties.items():
        table = pd.crosstab(pd.Series(pd.factorize(pd.Series(values).astype(str))[0]), labels)
        share = table.max(axis=1).sum() / len(labels)
        if 1 < len(table) <= len(labels) / 10 and share >= _TELLING and share - largest > 0.1:
            yield (
                "warning",
                f"{name} alone tells the class of {share:.0%} of the training images (the largest: {largest:.0%})",
            )


def _check_labels(dataset: ImageDataset, decoder: ItemDecoder, found: SuspiciousLabels | None) -> Iterator[Finding]:
    """Labels that a simple probe holds for wrong; those of the official test set are not looked at."""
    if found is None:
        return
    probe = f"a probe of {found.accuracy:.0%} accuracy on {found.checked} images"
    if not found.rows:
        yield "ok", f"no label looks wrong to {probe}"
        return
    names = dataset.class_names
    shown = [
        f"{decoder.locations[row]} ({names[int(dataset.labels[row])]}, looks like {names[k]})"
        for row, k in zip(found.rows, found.likely, strict=True)
    ]
    many = len(found.rows) >= _DOUBTFUL * found.checked
    text = f"{len(found.rows)} labels look wrong to {probe}, the first ones most: {examples(shown)}"
    yield ("warning" if many else "ok"), text

"""A split that a file gives instead of a draw: checked against the data set, then taken as it is."""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np

from trigan.components import component
from trigan.data.splits import split_file
from trigan.data.splits.split_file import SplitFile
from trigan.data.splits.splitter import DataSplit, Parts, Splitter
from trigan.data.types import ImageDataset
from trigan.errors import ConfigError, DataError


def read_split(split: str | None) -> SplitFile:
    """The split file that ``regime.split`` names.

    Raises:
        ConfigError: it is not set.
        DataError: the file is missing or wrong.
    """
    if split is None:
        raise ConfigError(
            "regime=from_file needs a split file: set regime.split=FILE (`trigan splits export` writes one)"
        )
    return split_file.read_split_file(Path(split).expanduser())


def content_digest(split: str | None) -> str:
    """What the file of ``regime.split`` counts by in a run's identity: its content, not its place."""
    return read_split(split).digest


@component("regime/from_file@1")
@dataclass(frozen=True)
class RegimeFromFile:
    """The regime of a split file: which images train, validate, stay unlabelled and test, and with which labels.

    Attributes:
        split: the file, as `trigan splits export` writes it.
    """

    split: str | None = field(default=None, metadata={"identity": content_digest})

    def read(self) -> SplitFile:
        """The file's content; errors as :func:`read_split`."""
        return read_split(self.split)


def split_from_file(source: ImageDataset, file: SplitFile, trial: int) -> DataSplit:
    """The split of a file, for the run of ``trial``.

    Parts are put into the trial's hash order, so a file that was exported from a draw gives the draw itself, and one
    with the same images in another order gives the same run.

    Raises:
        DataError: the file belongs to another data set or trial, or breaks a rule of the protocol.
    """
    if trial != file.trial:
        raise DataError(
            f"{file.path} is the split of trial {file.trial}, and this run says trial={trial}; set trial={file.trial}"
        )
    return _Taker(source, file).take()


class _Taker(Splitter):
    """The checks of a file against the data set, then the parts."""

    def __init__(self, source: ImageDataset, file: SplitFile) -> None:
        if file.data["fingerprint"] != source.fingerprint:
            raise DataError(
                f"{file.path} splits another data set: {file.data.get('name', 'unnamed')} with fingerprint "
                f"{file.data['fingerprint'][:16]}, and this is {source.name} with {source.fingerprint[:16]}; "
                "choose the data set that it was made for"
            )
        super().__init__(source, file.trial)
        self.file = file

    def take(self) -> DataSplit:
        """Check everything, then cut the parts out."""
        parts = self.file.parts
        self._check_range(parts)
        self._check_test(parts.test)
        self._check_copies(parts)
        self._check_pool(parts)
        self._check_labels(parts)
        labelled, validation = self.shuffled(parts.labelled, "order"), self.shuffled(parts.validation, "order")
        taken = Parts(labelled, validation, self.shuffled(parts.unlabelled, "unlabelled"), parts.test)
        seen = (
            self.file.labels[0][np.searchsorted(parts.labelled, labelled)],
            self.file.labels[1][np.searchsorted(parts.validation, validation)],
        )
        return self.build_split(taken, seen, self.file.stamps, self.file.digest)

    def _refuse(self, what: str, mend: str) -> DataError:
        return DataError(f"{self.file.path}: {what}; {mend}")

    def _check_range(self, parts: Parts) -> None:
        count = len(self.labels)
        for name, rows in parts.items():
            if len(rows) and rows[-1] >= count:
                raise self._refuse(f"{name} has index {rows[-1]}, and {self.source.name} has {count} images", "mend it")

    def _check_test(self, test: np.ndarray) -> None:
        """A source's own test set is the test set, always; elsewhere any labelled images may be."""
        official = self.source.official_test
        if official is not None and not np.array_equal(test, np.flatnonzero(official.numpy())):
            raise self._refuse(
                f"its {len(test)} test images are not the official test set of {self.source.name} "
                f"({int(official.sum())} images)",
                "test on that",
            )
        bare = test[self.labels[test] < 0]
        if len(bare):
            raise self._refuse(f"test image {bare[0]} has no label in {self.source.name}", "leave it out")

    def _check_copies(self, parts: Parts) -> None:
        for (one, rows), (other, others) in combinations(parts.items(), 2):
            both = np.intersect1d(self.first_copies[rows], self.first_copies[others])
            if len(both):
                first, second = (int(part[self.first_copies[part] == both[0]][0]) for part in (rows, others))
                raise self._refuse(
                    f"image {first} of {one} and image {second} of {other} have the same pixels",
                    "equal images belong into one part",
                )

    def _check_pool(self, parts: Parts) -> None:
        """What is no part of the training pool may not train; counts what the pool and the parts leave out."""
        rows = np.arange(len(self.labels))
        beside = ~np.isin(self.first_copies, self.first_copies[parts.test])
        pool = self.without_label_conflicts(rows[beside])
        self.n_train = len(pool)
        if self.source.official_test is not None:
            self.dropped_in_test = int((~beside).sum()) - len(parts.test)
        for name, mine in parts.items():
            clash = [] if name == "test" else np.setdiff1d(mine, pool).tolist()
            if clash:
                raise self._refuse(
                    f"image {clash[0]} of {name} has the same pixels as an earlier image and another label, or none",
                    "leave it out",
                )
        used = np.concatenate([mine for name, mine in parts.items() if name != "test"])
        if self.source.official_test is None:
            used = np.concatenate([used, parts.test])
        copies = np.isin(self.first_copies, self.first_copies[used]) & ~np.isin(rows, used)
        disagreeing = beside & ~np.isin(rows, pool)
        self.dropped_duplicates += int((copies & ~disagreeing).sum())

    def _check_labels(self, parts: Parts) -> None:
        names, changed = self.source.class_names, 0
        for name, seen in zip(split_file.LABELLED, self.file.labels, strict=True):
            rows = getattr(parts, name)
            clean = self.labels[rows]
            bare = rows[clean < 0]
            if len(bare):
                raise self._refuse(f"image {bare[0]} of {name} has no label in {self.source.name}", "leave it out")
            if len(seen) and int(seen.max()) >= self.classes:
                raise self._refuse(f"{name} has label {seen.max()}, and classes are 0..{self.classes - 1}", "mend it")
            changed += int((clean != seen).sum())
        if changed != self.file.labels_changed:
            raise self._refuse(
                f"{changed} labels differ from those of {self.source.name}, and labels_changed says "
                f"{self.file.labels_changed}",
                "mend the labels, or say how many the regime's noise changed",
            )
        counts = np.bincount(self.labels[parts.labelled], minlength=self.classes)
        missing = np.flatnonzero(counts == 0)
        if len(missing):
            raise self._refuse(f"class '{names[missing[0]]}' has no labelled image", "give it some")

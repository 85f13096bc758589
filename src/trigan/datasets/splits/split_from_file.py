"""The split of a file instead of a draw: checked against the data set, then used unchanged."""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trigan.component_ids import component
from trigan.datasets.splits.splitter import LABELLED_PARTS, DataSplit, Parts, Splitter
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError

if TYPE_CHECKING:
    from trigan.datasets.splits.split_file import SplitFile


def content_digest(split: str | None) -> str:
    """Identity of ``regime.split`` in a run's hash: the file's content, not its location."""
    return RegimeFromFile(split).read().digest


@component("regime/from_file@1")
@dataclass(frozen=True)
class RegimeFromFile:
    """The regime of a split file: which images train, validate, stay unlabelled and test, and with which labels.

    Attributes:
        split: the file, as `trigan splits export` writes it.
    """

    split: str | None = field(default=None, metadata={"identity": content_digest})

    def read(self) -> "SplitFile":
        """The file's content.

        Raises:
            ConfigError: no file is set.
            DataError: the file is missing or wrong.
        """
        from trigan.datasets.splits.split_file import read_split_file  # imports pydantic, which takes 0.15 s

        if self.split is None:
            raise ConfigError(
                "regime=from_file needs a split file: set regime.split=FILE (`trigan splits export` writes one)"
            )
        return read_split_file(Path(self.split).expanduser())


def split_from_file(source: ImageDataset, file: "SplitFile", trial: int) -> DataSplit:
    """The split of a file, for the run of ``trial``.

    Parts are put into the trial's hash order, so a file that was exported from a draw gives the draw itself, and one
    with the same images in another order gives the same run.

    Raises:
        DataError: the file belongs to another data set or trial, or breaks a rule of the protocol.
    """
    if trial != file.trial:
        raise DataError(
            f"{file.path} is the split of trial {file.trial}, and this run has trial={trial}; set trial={file.trial}"
        )
    if file.data.fingerprint != source.fingerprint:
        raise DataError(
            f"{file.path} splits another data set: {file.data.name} with fingerprint {file.data.fingerprint[:16]}, and "
            f"this is {source.name} with {source.fingerprint[:16]}; choose the data set that it was made for"
        )
    return _FileSplitter(source, file).split()


class _FileSplitter(Splitter):
    def __init__(self, source: ImageDataset, file: "SplitFile") -> None:
        super().__init__(source, file.trial)
        self.file, self.parts = file, file.parts

    def split(self) -> DataSplit:
        """Check the file against the data set, then cut out its parts."""
        self._check_range()
        self._check_test()
        self._check_copies()
        self._check_pool()
        self._check_labels()
        parts = Parts(
            self.shuffled(self.parts.labelled, "order"),
            self.shuffled(self.parts.validation, "order"),
            self.shuffled(self.parts.unlabelled, "unlabelled"),
            self.parts.test,
        )
        labels = (
            self.file.labels[0][np.searchsorted(self.parts.labelled, parts.labelled)],
            self.file.labels[1][np.searchsorted(self.parts.validation, parts.validation)],
        )
        return self.build_split(parts, labels, tuple(self.file.stamps), self.file.digest)

    def _error(self, problem: str, mend: str) -> DataError:
        return DataError(f"{self.file.path}: {problem}; {mend}")

    def _refuse_any(self, rows: np.ndarray, part: str, problem: str, mend: str = "leave it out") -> None:
        if len(rows):
            raise self._error(f"image {rows[0]} of {part} {problem}", mend)

    def _check_range(self) -> None:
        count = len(self.labels)
        for name, rows in self.parts.items():
            self._refuse_any(rows[rows >= count], name, f"does not exist: {self.source.name} has {count} images")

    def _check_test(self) -> None:
        """A source's own test set must be the test set; without one, any labelled images may be."""
        official, test = self.source.official_test, self.parts.test
        if official is not None and not np.array_equal(test, np.flatnonzero(official.numpy())):
            raise self._error(
                f"its {len(test)} test images are not the official test set of {self.source.name} "
                f"({int(official.sum())} images)",
                "test on that",
            )

    def _check_copies(self) -> None:
        for (one, rows), (other, other_rows) in combinations(self.parts.items(), 2):
            copies, in_rows, in_other = np.intersect1d(
                self.first_copies[rows], self.first_copies[other_rows], return_indices=True
            )
            if len(copies):
                raise self._error(
                    f"image {rows[in_rows[0]]} of {one} and image {other_rows[in_other[0]]} of {other} have the same "
                    "pixels",
                    "put equal images into one part",
                )

    def _check_pool(self) -> None:
        """Only images of the training pool may train; counts what the pool and the parts leave out."""
        rows = np.arange(len(self.labels))
        outside_test = ~np.isin(self.first_copies, self.first_copies[self.parts.test])
        pool = self.without_label_conflicts(rows[outside_test])
        self.n_train = len(pool)
        parts = dict(self.parts.items())
        test = parts.pop("test")
        problem = "has the same pixels as an earlier image and another label, or none"
        for name, part in parts.items():
            self._refuse_any(np.setdiff1d(part, pool), name, problem)
        used = np.concatenate(list(parts.values()))
        if self.source.official_test is None:
            used = np.concatenate([used, test])
        else:
            self.dropped_in_test = int((~outside_test).sum()) - len(test)
        unused_copies = np.isin(self.first_copies, self.first_copies[used]) & ~np.isin(rows, used)
        conflicting = outside_test & ~np.isin(rows, pool)
        self.dropped_duplicates += int((unused_copies & ~conflicting).sum())

    def _check_labels(self) -> None:
        for name in (*LABELLED_PARTS, "test"):
            rows = getattr(self.parts, name)
            self._refuse_any(rows[self.labels[rows] < 0], name, f"has no label in {self.source.name}")
        given = np.concatenate(self.file.labels)
        if given.max() >= self.classes:
            raise self._error(f"there is label {given.max()}, and classes are 0..{self.classes - 1}", "correct it")
        changed = int((self.labels[np.concatenate([self.parts.labelled, self.parts.validation])] != given).sum())
        if changed != self.file.labels_changed:
            raise self._error(
                f"{changed} labels differ from those of {self.source.name}, and labels_changed is "
                f"{self.file.labels_changed}",
                "correct the labels, or set labels_changed to the number that the regime's noise changed",
            )
        counts = np.bincount(self.labels[self.parts.labelled], minlength=self.classes)
        for k in np.flatnonzero(counts == 0):
            raise self._error(f"class '{self.source.class_names[k]}' has no labelled image", "add some")

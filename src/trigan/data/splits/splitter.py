"""What every split is made with: a data set's order, its equal images, and parts that become a view and a test set."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from trigan.data.splits.hash_order import HashOrder, find_first_copies
from trigan.data.splits.sealed_test import SealedTest
from trigan.data.splits.split_info import ExternalDataInfo, PartInfo, SplitInfo, index_digest
from trigan.data.types import ImageDataset, LabelledImages, TrainingView

#: The parts of a split, by name.
PARTS = ("labelled", "validation", "unlabelled", "test")


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a split as source indices, int64 each; they hold no pixel and no label."""

    labelled: np.ndarray
    validation: np.ndarray
    unlabelled: np.ndarray
    test: np.ndarray

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and indices of each part."""
        yield from ((name, getattr(self, name)) for name in PARTS)


@dataclass(frozen=True, eq=False)
class DataSplit:
    """What a trial gives: a view to train on, a sealed test set, and the facts for the record.

    ``parts`` are the source indices behind them, ``split_file_digest`` that of the split file that they came from
    (None: they were drawn), and ``external`` describes the other data set whose images the view has, if any.
    """

    view: TrainingView
    test: SealedTest
    info: SplitInfo
    parts: Parts
    split_file_digest: str | None = None
    external: ExternalDataInfo | None = None


class Splitter:
    """A data set in one trial; counts what is dropped on the way to its parts."""

    def __init__(self, source: ImageDataset, trial: int) -> None:
        self.source, self.trial = source, trial
        self.labels = source.labels.numpy()
        self.classes = len(source.class_names)
        self.order = HashOrder(source.fingerprint, trial, source.digests.numpy())
        self.first_copies = find_first_copies(source.images)
        self.dropped_in_test = 0
        self.dropped_duplicates = 0
        self.n_train = 0

    def without_label_conflicts(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` without copies whose label differs from the first label that their pixels have."""
        first = np.full(len(self.labels), -1)
        known = rows[self.labels[rows] >= 0][::-1]
        first[self.first_copies[known]] = self.labels[known]
        agree = self.labels[rows] == first[self.first_copies[rows]]
        self.dropped_duplicates += int((~agree).sum())
        return rows[agree]

    def shuffled(self, rows: np.ndarray, purpose: str) -> np.ndarray:
        """``rows`` in an order that does not follow the classes."""
        return self.order.sort(purpose, rows, self.first_copies)

    def build_split(
        self, parts: Parts, labels: tuple[np.ndarray, np.ndarray], stamps: tuple[str, ...], file: str | None = None
    ) -> DataSplit:
        """Copy the parts out of the source and write down the facts.

        Args:
            labels: as they are seen, of the labelled and of the validation images.
        """
        train, choose = self._copy(parts.labelled, labels[0]), self._copy(parts.validation, labels[1])
        view = TrainingView(
            self.source.spec,
            train,
            choose if len(choose) else None,
            self._pixels(parts.unlabelled),
            self._common_order(np.concatenate([parts.labelled, parts.unlabelled])),
        )
        clean = self.labels[np.concatenate([parts.labelled, parts.validation])]
        facts = SplitInfo(
            fingerprint=self.source.fingerprint,
            trial=self.trial,
            labelled=self._facts(parts.labelled, train),
            validation=self._facts(parts.validation, choose),
            unlabelled=self._facts(parts.unlabelled),
            test=self._facts(parts.test),
            test_redrawn=self.source.official_test is None,
            n_train=self.n_train,
            dropped_in_test=self.dropped_in_test,
            dropped_duplicates=self.dropped_duplicates,
            labels_changed=int((clean != np.concatenate(labels)).sum()),
            stamps=stamps,
        )
        return DataSplit(view, SealedTest(self._copy(parts.test, self.labels[parts.test])), facts, parts, file)

    def _common_order(self, rows: np.ndarray) -> torch.Tensor:
        """Where the images of ``rows`` stand in it, taken in hash order."""
        place = np.empty(len(self.labels), dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return torch.from_numpy(place[self.shuffled(rows, "training images")])

    def _copy(self, rows: np.ndarray, labels: np.ndarray) -> LabelledImages:
        return LabelledImages(self._pixels(rows), torch.from_numpy(labels.copy()))

    def _pixels(self, rows: np.ndarray) -> torch.Tensor:
        return self.source.images.index_select(0, torch.from_numpy(rows))

    def _facts(self, rows: np.ndarray, seen: LabelledImages | None = None) -> PartInfo:
        counts = None if seen is None else torch.bincount(seen.labels, minlength=self.classes).tolist()
        return PartInfo(len(rows), index_digest(rows), counts)

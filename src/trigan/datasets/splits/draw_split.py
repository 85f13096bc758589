"""The split of a trial: which images train, validate, stay unlabelled and test, from (data set, regime, trial)."""

import numpy as np

from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.split_file import RegimeFromFile, split_from_file
from trigan.datasets.splits.splitter import DataSplit, Parts, Splitter, hash_keys
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

#: Fraction of each class that tests, where the source has no official test set.
TEST_FRACTION = 0.3


def draw_split(source: ImageDataset, regime: Regime | RegimeFromFile, trial: int) -> DataSplit:
    """Split ``source`` for ``trial`` and apply ``regime``, or take the split from the file of a RegimeFromFile.

    The official test set is the test set, and training images with the same pixels as one of its images are dropped;
    without one, 30 % of each class test, drawn anew in each trial. Equal images are never in two parts; of equal images
    with different labels, those that agree with the first stay. The first n labelled images of a class in hash order
    are its labels (so 10 labels per class are a subset of 20 in the same trial); validation comes after them.

    Raises:
        DataError: a class has fewer labelled images than the regime needs, there are too few unlabelled ones, or a
            split file does not fit the data set or the trial.
    """
    if isinstance(regime, RegimeFromFile):
        return split_from_file(source, regime.read(), trial)
    return _HashSplitter(source, regime, trial).split()


class _HashSplitter(Splitter):
    def __init__(self, source: ImageDataset, regime: Regime, trial: int) -> None:
        super().__init__(source, trial)
        self.regime = regime

    def split(self) -> DataSplit:
        """Draw all parts."""
        pool, test = self._pool_and_test()
        parts = Parts(*self._divide(pool), test)
        labels = self._noisy_labels(parts.labelled), self._noisy_labels(parts.validation)
        return self.build_split(parts, labels, self.regime.stamps)

    def _pool_and_test(self) -> tuple[np.ndarray, np.ndarray]:
        """Source indices of the training pool and of the test set."""
        rows = np.arange(len(self.labels))
        if self.source.official_test is None:
            return self._draw_test(self.without_label_conflicts(rows))
        official = self.source.official_test.numpy()
        leaked = ~official & np.isin(self.first_copies, self.first_copies[official])
        self.dropped_in_test = int(leaked.sum())
        return self.without_label_conflicts(rows[~official & ~leaked]), rows[official]

    def _draw_test(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pool, test = [rows[self.labels[rows] < 0]], []
        for of_class in self._by_class(rows, "test"):
            size = max(1, round(TEST_FRACTION * len(of_class))) if len(of_class) > 1 else 0
            taken, rest = self._take(of_class, size)
            test.append(taken)
            pool.append(rest)
        return np.sort(np.concatenate(pool)), np.sort(np.concatenate(test))

    def _by_class(self, rows: np.ndarray, purpose: str) -> list[np.ndarray]:
        ordered = self.shuffled(rows, purpose)
        return [ordered[self.labels[ordered] == k] for k in range(self.classes)]

    def _take(self, rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The first ``size`` of ordered rows and the rest, without the copies of the last row taken."""
        taken, rest = rows[:size], rows[size:]
        copies = np.isin(self.first_copies[rest], self.first_copies[taken[-1:]])
        self.dropped_duplicates += int(copies.sum())
        return taken, rest[~copies]

    def _divide(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source indices of labelled, validation and unlabelled images."""
        self.n_train = len(pool)
        by_class = self._by_class(pool, "labels")
        sizes = self.regime.imbalanced_counts(np.array([len(rows) for rows in by_class]))
        for name in np.array(self.source.class_names)[sizes == 0]:
            raise DataError(f"class '{name}' has no labelled training image; add some, or leave the class out")
        labelled, validation, unlabelled = [], [], [pool[self.labels[pool] < 0]]
        for k, (n_train, n_validation) in enumerate(zip(*self.regime.budget(sizes), strict=True)):
            rows = by_class[k][: sizes[k]]
            self._require_labels(k, n_train + n_validation, len(rows))
            taken, rest = self._take(rows, n_train)
            self._require_labels(k, n_validation, len(rest))
            chosen, rest = self._take(rest, n_validation)
            labelled.append(taken)
            validation.append(chosen)
            unlabelled.append(rest)
        return (
            self.shuffled(np.concatenate(labelled), "order"),
            self.shuffled(np.concatenate(validation), "order"),
            self._take_unlabelled(np.concatenate(unlabelled)),
        )

    def _require_labels(self, k: int, needed: int, available: int) -> None:
        """Refuse fewer labels than ``labels_per_class``; a fraction takes what there is."""
        if self.regime.labels_per_class is None or available >= needed:
            return
        large = self.regime.validation == "large"
        beside, mend = (" with regime.validation=large", " or set regime.validation=none") if large else ("", "")
        raise DataError(
            f"class '{self.source.class_names[k]}' has {available} labelled training images, but "
            f"regime.labels_per_class={self.regime.labels_per_class}{beside} needs {needed}; lower it{mend}"
        )

    def _take_unlabelled(self, rest: np.ndarray) -> np.ndarray:
        rows = self.shuffled(rest, "unlabelled")
        count = self.regime.unlabelled
        if isinstance(count, str):
            return rows if count == "all" else rows[:0]
        if count > len(rows):
            raise DataError(
                f"{len(rows)} unlabelled training images are left, but regime.unlabelled={count} needs more; "
                f"lower it or set regime.unlabelled=all"
            )
        return rows[:count]

    def _noisy_labels(self, rows: np.ndarray) -> np.ndarray:
        labels: np.ndarray = self.labels[rows]
        if self.regime.noise is None:
            return labels
        return self.regime.noise(labels, hash_keys(self.source, self.trial, "noise", rows), self.classes)

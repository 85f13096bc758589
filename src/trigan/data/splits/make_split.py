"""One draw: which images train, validate, stay unlabelled and test, as a function of (data set, regime, trial)."""

import numpy as np

from trigan.data.splits.hash_order import split_at
from trigan.data.splits.regime import Regime
from trigan.data.splits.split_from_file import RegimeFromFile, split_from_file
from trigan.data.splits.splitter import DataSplit, Parts, Splitter
from trigan.data.types import ImageDataset
from trigan.errors import DataError

#: Share of each class that tests, where the source has no official test set.
TEST_FRACTION = 0.3


def make_split(source: ImageDataset, regime: Regime | RegimeFromFile, trial: int) -> DataSplit:
    """Split ``source`` for ``trial`` and apply ``regime``, or take the split that the file of a RegimeFromFile gives.

    Rules: the official test set is the test set, and training images with the same pixels as one of its images are
    dropped; else 30 % of each class test, drawn anew in each trial. Equal images never stand in two parts. Of equal
    images with different labels those stay that agree with the first. The first n labelled images of a class in hash
    order are its labels (so 10 labels per class are a part of 20 in the same trial), validation comes after them.

    Raises:
        DataError: when a class has fewer labelled images than the regime asks for, or there are too few unlabelled;
            when a split file does not fit the data set or the trial.
    """
    if isinstance(regime, RegimeFromFile):
        return split_from_file(source, regime.read(), trial)
    drawer = _Drawer(source, regime, trial)
    train_pool, test = drawer.split()
    parts = Parts(*drawer.divide(train_pool), test)
    return drawer.build_split(parts, (drawer.seen(parts.labelled), drawer.seen(parts.validation)), regime.stamps)


class _Drawer(Splitter):
    """The steps of one draw."""

    def __init__(self, source: ImageDataset, regime: Regime, trial: int) -> None:
        super().__init__(source, trial)
        self.regime = regime

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Source indices of the training pool and of the test set."""
        rows = np.arange(len(self.labels))
        if self.source.official_test is None:
            return self._redraw(self.without_label_conflicts(rows))
        official = self.source.official_test.numpy()
        leaked = ~official & np.isin(self.first_copies, self.first_copies[official])
        self.dropped_in_test = int(leaked.sum())
        return self.without_label_conflicts(rows[~official & ~leaked]), rows[official]

    def _redraw(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        train, test = [rows[self.labels[rows] < 0]], []
        for mine in self._by_class(rows, "test"):
            size = max(1, round(TEST_FRACTION * len(mine))) if len(mine) > 1 else 0
            taken, rest, dropped = split_at(mine, size, self.first_copies)
            self.dropped_duplicates += dropped
            test.append(taken)
            train.append(rest)
        return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))

    def _by_class(self, rows: np.ndarray, purpose: str) -> list[np.ndarray]:
        ordered = self.order.sort(purpose, rows, self.first_copies)
        return [ordered[self.labels[ordered] == k] for k in range(self.classes)]

    def divide(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source indices of labelled, validation and unlabelled images."""
        self.n_train = len(pool)
        by_class = self._by_class(pool, "labels")
        sizes = self.regime.imbalanced_counts(np.array([len(rows) for rows in by_class]))
        by_class = [rows[:size] for rows, size in zip(by_class, sizes, strict=True)]
        for k in np.flatnonzero(sizes == 0).tolist():
            self.regime.raise_label_shortage(self.source.class_names[k], 1, 0)
        budget = self.regime.budget(sizes)
        labelled, validation, rest = [], [], [pool[self.labels[pool] < 0]]
        for k, rows in enumerate(by_class):
            train, other = self._take(rows, int(budget[0][k]), k, int(budget[1][k]))
            chosen, other = self._take(other, int(budget[1][k]), k, 0)
            labelled.append(train)
            validation.append(chosen)
            rest.append(other)
        mixed = self.shuffled(np.concatenate(labelled), "order"), self.shuffled(np.concatenate(validation), "order")
        return *mixed, self._unlabelled(np.concatenate(rest))

    def _take(self, rows: np.ndarray, size: int, k: int, also: int) -> tuple[np.ndarray, np.ndarray]:
        """The first ``size`` rows and the rest; exact where a number of labels was asked for."""
        if self.regime.labels_per_class is not None and len(rows) < size + also:
            self.regime.raise_label_shortage(self.source.class_names[k], size + also, len(rows))
        taken, rest, dropped = split_at(rows, size, self.first_copies)
        self.dropped_duplicates += dropped
        return taken, rest

    def _unlabelled(self, rest: np.ndarray) -> np.ndarray:
        rows = self.shuffled(rest, "unlabelled")
        wanted = self.regime.unlabelled
        if isinstance(wanted, str):
            return rows if wanted == "all" else rows[:0]
        if wanted > len(rows):
            raise DataError(
                f"{len(rows)} unlabelled training images are left, but regime.unlabelled={wanted} asks for more; "
                f"lower it or say regime.unlabelled=all"
            )
        return rows[:wanted]

    def seen(self, rows: np.ndarray) -> np.ndarray:
        """The labels of ``rows`` under the regime's noise."""
        labels = self.labels[rows]
        if self.regime.noise is None:
            return labels
        return self.regime.noise(labels, self.order.keys("noise", rows), self.classes)

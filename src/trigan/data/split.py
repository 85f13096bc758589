"""One draw: which images train, validate, stay unlabelled and test, as a function of (data set, regime, trial)."""

from dataclasses import dataclass

import numpy as np
import torch

from trigan.data.facts import PartFacts, SplitFacts, index_digest
from trigan.data.order import HashOrder, cut, duplicate_leaders
from trigan.data.regime import Regime
from trigan.data.sealed import SealedTest
from trigan.data.types import Labelled, Source, TrainingView
from trigan.errors import DataError

#: Share of each class that tests, where the source has no official test set.
TEST_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class Draw:
    """What a trial gives: a view to train on, a sealed test set, and the facts for the record."""

    view: TrainingView
    test: SealedTest
    facts: SplitFacts


def draw(source: Source, regime: Regime, trial: int) -> Draw:
    """Split ``source`` for ``trial`` and apply ``regime``.

    Rules: the official test set is the test set, and training images with the same pixels as one of its images are
    dropped; else 30 % of each class test, drawn anew in each trial. Equal images never stand in two parts. Of equal
    images with different labels those stay that agree with the first. The first n labelled images of a class in hash
    order are its labels (so 10 labels per class are a part of 20 in the same trial), validation comes after them.

    Raises:
        DataError: when a class has fewer labelled images than the regime asks for, or there are too few unlabelled.
    """
    drawer = _Drawer(source, regime, trial)
    train_pool, test = drawer.split()
    labelled, validation, unlabelled = drawer.divide(train_pool)
    return drawer.finish(labelled, validation, unlabelled, test)


class _Drawer:
    """The steps of one draw; counts what it drops on the way."""

    def __init__(self, source: Source, regime: Regime, trial: int) -> None:
        self.source, self.regime, self.trial = source, regime, trial
        self.labels = source.labels.numpy()
        self.classes = len(source.class_names)
        self.order = HashOrder(source.fingerprint, trial, source.digests.numpy())
        self.leaders = duplicate_leaders(source.images)
        self.dropped_in_test = 0
        self.dropped_duplicates = 0
        self.labels_changed = 0
        self.n_train = 0

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Source indices of the training pool and of the test set."""
        rows = np.arange(len(self.labels))
        if self.source.official_test is None:
            return self._redraw(self._agreeing(rows))
        official = self.source.official_test.numpy()
        leaked = ~official & np.isin(self.leaders, self.leaders[official])
        self.dropped_in_test = int(leaked.sum())
        return self._agreeing(rows[~official & ~leaked]), rows[official]

    def _agreeing(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` without copies whose label differs from the first label that their pixels have."""
        first = np.full(len(self.labels), -1)
        known = rows[self.labels[rows] >= 0][::-1]
        first[self.leaders[known]] = self.labels[known]
        agree = self.labels[rows] == first[self.leaders[rows]]
        self.dropped_duplicates += int((~agree).sum())
        return rows[agree]

    def _redraw(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        train, test = [rows[self.labels[rows] < 0]], []
        for mine in self._by_class(rows, "test"):
            size = max(1, round(TEST_SHARE * len(mine))) if len(mine) > 1 else 0
            taken, rest, dropped = cut(mine, size, self.leaders)
            self.dropped_duplicates += dropped
            test.append(taken)
            train.append(rest)
        return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))

    def _by_class(self, rows: np.ndarray, purpose: str) -> list[np.ndarray]:
        ordered = self.order.sort(purpose, rows, self.leaders)
        return [ordered[self.labels[ordered] == k] for k in range(self.classes)]

    def divide(self, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source indices of labelled, validation and unlabelled images."""
        self.n_train = len(pool)
        by_class = self._by_class(pool, "labels")
        sizes = self.regime.thin(np.array([len(rows) for rows in by_class]))
        by_class = [rows[:size] for rows, size in zip(by_class, sizes, strict=True)]
        for k in np.flatnonzero(sizes == 0).tolist():
            self.regime.refuse_shortage(self.source.class_names[k], 1, 0)
        budget = self.regime.budget(sizes)
        labelled, validation, rest = [], [], [pool[self.labels[pool] < 0]]
        for k, rows in enumerate(by_class):
            train, other = self._take(rows, int(budget[0][k]), k, int(budget[1][k]))
            chosen, other = self._take(other, int(budget[1][k]), k, 0)
            labelled.append(train)
            validation.append(chosen)
            rest.append(other)
        return self._mixed(labelled, "order"), self._mixed(validation, "order"), self._unlabelled(rest)

    def _take(self, rows: np.ndarray, size: int, k: int, also: int) -> tuple[np.ndarray, np.ndarray]:
        """The first ``size`` rows and the rest; exact where a number of labels was asked for."""
        if self.regime.labels_per_class is not None and len(rows) < size + also:
            self.regime.refuse_shortage(self.source.class_names[k], size + also, len(rows))
        taken, rest, dropped = cut(rows, size, self.leaders)
        self.dropped_duplicates += dropped
        return taken, rest

    def _mixed(self, parts: list[np.ndarray], purpose: str) -> np.ndarray:
        """The parts together, in an order that does not follow the classes."""
        return self.order.sort(purpose, np.concatenate(parts), self.leaders)

    def _unlabelled(self, parts: list[np.ndarray]) -> np.ndarray:
        rows = self._mixed(parts, "unlabelled")
        wanted = self.regime.unlabelled
        if isinstance(wanted, str):
            return rows if wanted == "all" else rows[:0]
        if wanted > len(rows):
            raise DataError(
                f"{len(rows)} unlabelled training images are left, but regime.unlabelled={wanted} asks for more; "
                f"lower it or say regime.unlabelled=all"
            )
        return rows[:wanted]

    def finish(self, labelled: np.ndarray, validation: np.ndarray, unlabelled: np.ndarray, test: np.ndarray) -> Draw:
        """Copy the parts out of the source, add the regime's noise, write down the facts."""
        train, choose = self._copy(labelled, noisy=True), self._copy(validation, noisy=True)
        view = TrainingView(
            self.source.spec,
            train,
            choose if len(choose) else None,
            self._pixels(unlabelled),
            self._common_order(np.concatenate([labelled, unlabelled])),
        )
        facts = SplitFacts(
            fingerprint=self.source.fingerprint,
            trial=self.trial,
            labelled=self._facts(labelled, train),
            validation=self._facts(validation, choose),
            unlabelled=self._facts(unlabelled),
            test=self._facts(test),
            test_redrawn=self.source.official_test is None,
            n_train=self.n_train,
            dropped_in_test=self.dropped_in_test,
            dropped_duplicates=self.dropped_duplicates,
            labels_changed=self.labels_changed,
            stamps=self.regime.stamps,
        )
        return Draw(view, SealedTest(self._copy(test, noisy=False)), facts)

    def _common_order(self, rows: np.ndarray) -> torch.Tensor:
        """Where the images of ``rows`` stand in it, taken in hash order."""
        place = np.empty(len(self.labels), dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return torch.from_numpy(place[self.order.sort("training images", rows, self.leaders)])

    def _copy(self, rows: np.ndarray, noisy: bool) -> Labelled:
        labels = self.labels[rows]
        if noisy and self.regime.noise is not None:
            clean, labels = labels, self.regime.noise(labels, self.order.keys("noise", rows), self.classes)
            self.labels_changed += int((clean != labels).sum())
        return Labelled(self._pixels(rows), torch.from_numpy(labels.copy()))

    def _pixels(self, rows: np.ndarray) -> torch.Tensor:
        return self.source.images.index_select(0, torch.from_numpy(rows))

    def _facts(self, rows: np.ndarray, seen: Labelled | None = None) -> PartFacts:
        counts = None if seen is None else torch.bincount(seen.labels, minlength=self.classes).tolist()
        return PartFacts(len(rows), index_digest(rows), counts)

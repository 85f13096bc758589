"""The split of a trial: which images train, validate, stay unlabelled and test, from (data set, regime, trial)."""

from dataclasses import replace

import numpy as np

from trigan.datasets.splits.groups import balanced_groups, counts_by_group, covering_groups, refuse_shared_groups
from trigan.datasets.splits.label_noise import LabelNoise
from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.sealed_test import SealedTest
from trigan.datasets.splits.split_file import RegimeFromFile, split_from_file
from trigan.datasets.splits.splitter import DataSplit, HeldOutImages, HeldOutInfo, Parts, Splitter, hash_keys
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

    Where the data set has groups, all images of a group are in one part: the test set has whole groups with about 30 %
    of each class (`balanced_groups`), or is the official one, on whose two sides no group may be. With
    ``labels_per_class`` the labels, then those for validation, are drawn from the first groups in hash order that have
    them; other images of these groups are left out. Otherwise validation and labels are whole groups, as balanced as
    the test set.

    If the source has its own validation part, labels for validation are drawn from that, and the rest of it is unused.

    With ``held_out_classes`` the test set is drawn as without, and then divided: images of these classes are in
    ``held_out``, and the other classes are numbered anew, in their order.

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
        marks, none = source.official_validation, np.zeros(len(self.labels), dtype=bool)
        self.in_validation = none if marks is None else marks.numpy()

    def split(self) -> DataSplit:
        """Draw all parts."""
        pool, test = self._pool_and_test()
        held_out = np.empty(0, dtype=np.int64)
        if self.regime.held_out_classes:
            pool, test, held_out = self._hold_out(pool, test)
        parts = Parts(*self._divide(pool, self._validation_by_class(pool, test)), test)
        noise = self.regime.noise
        clean = noise is not None and noise.validation == "clean"
        labels = (
            self._noisy_labels(parts.labelled, noise),
            self._noisy_labels(parts.validation, None if clean else noise),
        )
        split = self.build_split(parts, labels, self.regime.stamps if len(parts.validation) else ())
        return self._with_held_out(split, held_out) if self.regime.held_out_classes else split

    def _hold_out(self, pool: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pool, test set, and the test images of held-out classes; the others are numbered anew.

        Images of held-out classes in the pool count as images without a label, or leave it.
        """
        names, held = self.source.class_names, self.regime.held_out_names
        for name in (one for one in held if one not in names):
            raise DataError(f"regime.held_out_classes: {name} is no class of {self.source.name}: {', '.join(names)}")
        known = np.array([name not in held for name in names])
        if known.sum() < 2:
            raise DataError("regime.held_out_classes: a classifier needs two classes that are not held out; name fewer")
        labelled, novel = self.labels >= 0, np.zeros(len(self.labels), dtype=bool)
        novel[labelled] = ~known[self.labels[labelled]]
        self.class_numbers = np.where(known, known.cumsum() - 1, -1)
        self.labels = np.where(labelled, self.class_numbers[self.labels], -1)
        self.class_names = tuple(name for name in names if name not in held)
        held_out, test = test[novel[test]], test[~novel[test]]
        if not len(held_out):
            raise DataError("regime.held_out_classes: none of these classes has a test image; name others")
        return pool if self.regime.held_out_in_pool else pool[~novel[pool]], test, held_out

    def _with_held_out(self, split: DataSplit, rows: np.ndarray) -> DataSplit:
        """The split with the test images ``rows`` of held-out classes."""
        regime = self.regime
        images = HeldOutImages(rows, SealedTest(self._copy(rows, self.source.labels.numpy()[rows])))
        stamps = (*split.info.stamps, *(("novel-in-pool",) if regime.held_out_in_pool else ()))
        about = HeldOutInfo(regime.held_out_names, regime.held_out_in_pool, self._part_info(rows))
        return replace(split, info=replace(split.info, stamps=stamps, held_out=about), held_out=images)

    def _pool_and_test(self) -> tuple[np.ndarray, np.ndarray]:
        """Source indices of the training pool and of the test set."""
        if self.groups is not None:
            refuse_shared_groups(self.source, self.groups)
        rows = np.arange(len(self.labels))
        if self.source.official_test is None:
            labels_agree = self.without_label_conflicts(rows[~self.in_validation])
            return self._draw_test(labels_agree) if self.groups is None else self._draw_test_groups(labels_agree)
        official = self.source.official_test.numpy()
        leaked = ~official & np.isin(self.first_copies, self.first_copies[official])
        self.dropped_in_test = int(leaked.sum())
        return self.without_label_conflicts(rows[~official & ~leaked & ~self.in_validation]), rows[official]

    def _draw_test(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pool, test = [rows[self.labels[rows] < 0]], []
        for of_class in self._by_class(rows, "test"):
            size = max(1, round(TEST_FRACTION * len(of_class))) if len(of_class) > 1 else 0
            taken, rest = self._take(of_class, size)
            test.append(taken)
            pool.append(rest)
        return np.sort(np.concatenate(pool)), np.sort(np.concatenate(test))

    def _draw_test_groups(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `_draw_test`, of whole groups; a class that is in one group alone stays in the pool."""
        counts, order = self._groups_of(rows, "test")
        least = ((counts > 0).sum(axis=0) > 1).astype(np.int64)
        chosen = balanced_groups(counts, order, TEST_FRACTION * counts.sum(axis=0), least, np.ones_like(least))
        inside, labelled = chosen[self._group(rows)], self.labels[rows] >= 0
        if not (inside & labelled).any():
            raise DataError(f"{self.source.name}: no group can test without taking a class's last training group")
        self.left_out += int((inside & ~labelled).sum())
        test = np.sort(rows[inside & labelled])
        return np.sort(self._without_copies(rows[~inside], test)), test

    def _group(self, rows: np.ndarray) -> np.ndarray:
        """The groups of images, in a data set that has them."""
        assert self.groups is not None
        return np.asarray(self.groups[rows])

    def _groups_of(self, rows: np.ndarray, purpose: str) -> tuple[np.ndarray, np.ndarray]:
        """Labelled images of ``rows`` by group and class (G, K), and the groups in hash order of their first images."""
        groups = self._group(rows)
        counts = counts_by_group(groups, self.labels[rows], self.classes)
        present, first = np.unique(groups, return_index=True)
        keys = hash_keys(self.source, self.trial, f"groups {purpose}", rows[first])[:, 0]
        return counts, present[np.argsort(keys, kind="stable")]

    def _without_copies(self, rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        """``rows`` without those that have the pixels of one ``of`` another part."""
        copies = np.isin(self.first_copies[rows], self.first_copies[of])
        self.dropped_duplicates += int(copies.sum())
        return rows[~copies]

    def _by_class(self, rows: np.ndarray, purpose: str) -> list[np.ndarray]:
        ordered = self.shuffled(rows, purpose)
        return [ordered[self.labels[ordered] == k] for k in range(self.classes)]

    def _take(self, rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The first ``size`` of ordered rows and the rest, without the copies of the last row taken."""
        taken, rest = rows[:size], rows[size:]
        copies = np.isin(self.first_copies[rest], self.first_copies[taken[-1:]])
        self.dropped_duplicates += int(copies.sum())
        return taken, rest[~copies]

    def _validation_by_class(self, pool: np.ndarray, test: np.ndarray) -> list[np.ndarray] | None:
        """The source's own validation images of each class in hash order; None if it has no such part.

        Those that have the pixels of a training or test image, or no label, are left out.
        """
        if not self.in_validation.any():
            return None
        rows = self._without_copies(
            np.flatnonzero(self.in_validation & (self.labels >= 0)), np.concatenate([pool, test])
        )
        return self._by_class(self.without_label_conflicts(rows), "labels")

    def _divide(self, pool: np.ndarray, own: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Source indices of labelled, validation and unlabelled images; validation out of ``own`` if that is given."""
        self.n_train = len(pool)
        by_class = self._by_class(pool, "labels")
        sizes = self.regime.imbalanced_counts(np.array([len(rows) for rows in by_class]))
        for name in np.array(self.class_names)[sizes == 0]:
            raise DataError(f"class '{name}' has no labelled training image; add some, or leave the class out")
        validating = np.empty(0, dtype=np.int64)
        if own is None:
            budget = self.regime.budget(sizes)
        else:
            thinned = self.regime.proportional_counts(np.array([len(rows) for rows in own]))
            n_train, n_own = self.regime.budget(sizes, thinned)
            budget = n_train, np.zeros_like(n_own)
            validating = np.concatenate([rows[:size] for rows, size in zip(own, n_own, strict=True)])
        by_class = [rows[:size] for rows, size in zip(by_class, sizes, strict=True)]
        divide = self._divide_classes if self.groups is None else self._divide_groups
        labelled, validation, unlabelled = divide(pool, by_class, budget)
        validation = np.concatenate([validation, validating])
        return self.shuffled(labelled, "order"), self.shuffled(validation, "order"), self._take_unlabelled(unlabelled)

    def _divide_classes(
        self, pool: np.ndarray, by_class: list[np.ndarray], budget: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The parts, of whole classes: labelled images of each class in hash order, and their ``budget``."""
        labelled, validation, unlabelled = [], [], [pool[self.labels[pool] < 0]]
        for k, (rows, n_train, n_validation) in enumerate(zip(by_class, *budget, strict=True)):
            self._require_labels(k, n_train + n_validation, len(rows))
            taken, rest = self._take(rows, n_train)
            self._require_labels(k, n_validation, len(rest))
            chosen, rest = self._take(rest, n_validation)
            labelled.append(taken)
            validation.append(chosen)
            unlabelled.append(rest)
        return np.concatenate(labelled), np.concatenate(validation), np.concatenate(unlabelled)

    def _divide_groups(
        self, pool: np.ndarray, by_class: list[np.ndarray], sizes: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `_divide_classes`, of whole groups."""
        rows = np.concatenate([*by_class, pool[self.labels[pool] < 0]])
        chosen = self._choose_groups(*self._groups_of(rows, "labels"), *sizes)
        parts = []
        for mask, wanted in zip(chosen, sizes, strict=True):
            of_class = [one[mask[self._group(one)]] for one in by_class]
            if self.regime.labels_per_class is not None:
                for k, one in enumerate(of_class):
                    self._require_labels(k, wanted[k], len(one))
                of_class = [one[:size] for one, size in zip(of_class, wanted, strict=True)]
            parts.append(np.concatenate(of_class))
        rest = rows[~(chosen[0] | chosen[1])[self._group(rows)]]
        self.left_out += len(rows) - len(rest) - len(parts[0]) - len(parts[1])
        labelled, validation = parts[0], self._without_copies(parts[1], parts[0])
        return labelled, validation, self._without_copies(rest, np.concatenate([labelled, validation]))

    def _choose_groups(
        self, counts: np.ndarray, order: np.ndarray, n_train: np.ndarray, n_validation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The groups whose images are labelled, and those whose images validate, bool (G,) each."""
        none = np.zeros_like(n_train)
        if self.regime.labels_per_class is not None:
            training = covering_groups(counts, order, n_train, none)
            return training, covering_groups(np.where(training[:, None], 0, counts), order, n_validation, none)
        one = np.minimum(n_validation, 1)
        validating = balanced_groups(counts, order, n_validation, one, none + 1) & bool(n_validation.any())
        if self.regime.fraction in (None, 1.0):
            return ~validating, validating
        rest = np.where(validating[:, None], 0, counts)
        return balanced_groups(rest, order, n_train, np.minimum(n_train, 1), none), validating

    def _require_labels(self, k: int, needed: int, available: int) -> None:
        """Refuse fewer labels than ``labels_per_class``; a fraction takes what there is."""
        if self.regime.labels_per_class is None or available >= needed:
            return
        large = self.regime.validation == "large"
        beside, mend = (" with regime.validation=large", " or set regime.validation=none") if large else ("", "")
        raise DataError(
            f"class '{self.class_names[k]}' has {available} labelled training images"
            f"{' in groups that no other part has' if self.groups is not None else ''}, but "
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

    def _noisy_labels(self, rows: np.ndarray, noise: LabelNoise | None) -> np.ndarray:
        labels: np.ndarray = self.labels[rows]
        if noise is None:
            return labels
        keys = hash_keys(self.source, self.trial, "noise", rows)
        return noise(labels, keys, self.classes, lambda: self._pixels(rows))

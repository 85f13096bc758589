"""Groups of images that belong together (of a patient, of a slide): the parts of a split have whole groups."""

import numpy as np

from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

#: Largest number of passes over the groups; a few reach the end.
_PASSES = 20


def group_numbers(source: ImageDataset) -> np.ndarray | None:
    """The group of each image, int64 (N,), numbered in source order, so that names do not count; None without groups.

    An image without a group (-1) is a group of its own.
    """
    if source.groups is None:
        return None
    given = source.groups.numpy()
    alone = given.max(initial=-1) + 1 + np.arange(len(given))
    _, first, inverse = np.unique(np.where(given < 0, alone, given), return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def counts_by_group(groups: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Labelled images by group and class, int64 (G, K), of some images' groups (n,) and labels (n,), -1 for none."""
    counts = np.zeros((int(groups.max(initial=-1)) + 1, classes), dtype=np.int64)
    known = labels >= 0
    np.add.at(counts, (groups[known], labels[known]), 1)
    return counts


def balanced_groups(
    counts: np.ndarray, order: np.ndarray, targets: np.ndarray, least: np.ndarray, reserve: np.ndarray
) -> np.ndarray:
    """Groups that together have about ``targets`` images of each class, bool (G,).

    First come the groups that give each class its ``least`` (`covering_groups`). Then each group, in ``order``, enters
    or leaves if that lowers the sum over classes of ((images taken - target) / images)^2, until none does. A random
    order thus gives a random choice, also of large groups, whose class shares are those of a stratified draw as nearly
    as whole groups allow.

    Args:
        counts: images by group and class, (G, K).
        order: all groups, int (G,).
        targets: images to take of each class, (K,).
        least: the fewest images to take of each class, (K,).
        reserve: images of each class that must remain, (K,); a group that would take more stays.
    """
    total = counts.sum(axis=0)
    taken = covering_groups(counts, order, least, reserve)
    have = counts[taken].sum(axis=0)

    def distance(images: np.ndarray) -> float:
        return float((((images - targets) / np.maximum(total, 1)) ** 2).sum())

    for _ in range(_PASSES):
        before = taken.copy()
        for group in order[counts[order].any(axis=1)]:
            own = counts[group]
            after = have - own if taken[group] else have + own
            allowed = (after >= least) if taken[group] else (total - after >= reserve)
            if allowed[own > 0].all() and distance(after) < distance(have) - 1e-12:
                taken[group], have = not taken[group], after
        if (taken == before).all():
            break
    return taken


def covering_groups(counts: np.ndarray, order: np.ndarray, wanted: np.ndarray, reserve: np.ndarray) -> np.ndarray:
    """The groups, in ``order``, that have an image of a class of which fewer than ``wanted`` are taken, bool (G,)."""
    total, have = counts.sum(axis=0), np.zeros(counts.shape[1], dtype=np.int64)
    taken = np.zeros(len(counts), dtype=bool)
    for group in order:
        own = counts[group]
        if (own > 0)[have < wanted].any() and (total - have - own >= reserve)[own > 0].all():
            taken[group], have = True, have + own
    return taken


def refuse_shared_groups(source: ImageDataset, groups: np.ndarray) -> None:
    """Raise a DataError if a group has images on both sides of the source's own test or validation part."""
    parts = {"test": source.official_test, "validation": source.official_validation}
    for name, marks in ((name, marks.numpy()) for name, marks in parts.items() if marks is not None):
        shared = np.intersect1d(groups[marks], groups[~marks])
        if len(shared):
            inside = np.isin(groups, shared)
            raise DataError(
                f"{source.name}: {len(shared)} of {groups.max() + 1} groups have images on both sides of the official "
                f"{name} set ({int((inside & marks).sum())} {name} images, {int((inside & ~marks).sum())} others), so "
                f"it would {'test' if name == 'test' else 'select by'} what was trained on; take these groups out of "
                "one side, or set data.group=null"
            )

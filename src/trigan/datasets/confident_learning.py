"""Confident learning: which labels are probably wrong, given predicted probabilities from outside their training set.

Northcutt, Jiang and Chuang 2021 (1911.00068). p (N, K) are predicted probabilities, and i is the given label of an
image. t_j is the mean of p_j over the images labelled j.
"""

from typing import Literal

import numpy as np

#: How many images are pruned, and which: see `pruned_images`.
PruneBy = Literal["noise_rate", "class", "both"]


def confident_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The most probable class among those with p_j >= t_j (section 3.1), int64 (N,); -1 where there is none."""
    classes = probabilities.shape[1]
    of_class = [probabilities[labels == k, k] for k in range(classes)]
    thresholds = np.array([values.mean() if len(values) else np.inf for values in of_class])
    confident = np.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    found: np.ndarray = np.where(confident.max(1) >= 0, confident.argmax(1), -1)
    return found


def joint_counts(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """N times the joint distribution of given label i and true class j (eq. 1 and 3), float64 (K, K).

    Row i adds up to the number of images with label i; a label without a confident image counts as right.
    """
    classes, found = probabilities.shape[1], confident_classes(probabilities, labels)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[found >= 0], found[found >= 0]), 1.0)
    np.fill_diagonal(counts, np.maximum(np.diagonal(counts), 1.0))
    joint: np.ndarray = counts / counts.sum(1, keepdims=True) * np.bincount(labels, minlength=classes)[:, None]
    return joint


def pruned_images(probabilities: np.ndarray, labels: np.ndarray, by: PruneBy) -> np.ndarray:
    """The images with wrong labels, bool (N,); at least one of each label stays.

    ``noise_rate`` (section 3.2, method 4): for each pair i != j as many of the images labelled i as the joint counts
    have, those with the largest p_j - p_i. ``class`` (method 3): of each label i as many as its row counts in other
    classes, those with the smallest p_i. ``both`` (method 5): those of both. As in the authors' library, an image whose
    most probable class is its label is none.
    """
    joint = np.rint(joint_counts(probabilities, labels)).astype(np.int64)
    np.fill_diagonal(joint, 0)
    chosen = {one: np.zeros(len(labels), dtype=bool) for one in ("noise_rate", "class")}
    for i, row in enumerate(joint):
        of_class = np.flatnonzero(labels == i)
        p, most = probabilities[of_class], len(of_class) - 1
        if most < 1:
            continue
        chosen["class"][of_class[np.argsort(p[:, i], kind="stable")[: min(row.sum(), most)]]] = True
        found = np.zeros(len(of_class), dtype=bool)
        for j in np.flatnonzero(row):
            found[np.argsort(p[:, i] - p[:, j], kind="stable")[: row[j]]] = True
        found[p[:, i].argmax()] &= not found.all()
        chosen["noise_rate"][of_class[found]] = True
    wrong = chosen["class"] & chosen["noise_rate"] if by == "both" else chosen[by]
    return np.asarray(wrong & (probabilities.argmax(1) != labels))

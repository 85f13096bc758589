"""Which test images a run classified correctly, and what that says of the correlation of trials."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigan.errors import ArtifactError
from trigan.records.file_index import FileIndex
from trigan.records.record import Record
from trigan.tables.stored_predictions import PREDICTIONS_FILE, StoredPredictions

#: No data set has more images.
_LARGEST = 10**8


@dataclass(frozen=True, eq=False)
class ImageOutcomes:
    """The test images of a run, by their index in the data set, int64 (N,), and whether each is right, float (N,).

    ``groups``: the group of each, int64 (N,), if the data set has groups.
    """

    rows: np.ndarray
    correct: np.ndarray
    groups: np.ndarray | None = None


def read_outcomes(record: Record, folder: Path, index: FileIndex) -> dict[str, ImageOutcomes]:
    """``{run: its outcomes}`` if its predictions are stored, else nothing.

    Raises:
        ArtifactError: the predictions are damaged, or not those of the record.
    """
    split: Any = record["result"]["split"]
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return {}
    packed = index.get(path, "outcomes", _packed_outcomes)
    if packed is None:
        return {}
    size, rows, correct, groups, scores, images = packed
    tested = split.get("test", {}).get("sha256", images)
    found = np.flatnonzero(_unpacked(rows, size))
    right = _unpacked(correct, len(found)).astype(np.float64)
    outcomes = ImageOutcomes(found, right, None if groups is None else np.asarray(groups))
    equal = abs(right.mean() - record["result"]["test"]["accuracy"]) < 1e-9
    if (scores, images) != (record["result"]["predictions"], tested) or not equal:
        raise ArtifactError(f"{path}: not the predictions of its record: run its command again with --force")
    return {record["run"]: outcomes}


def _packed_outcomes(path: Path) -> list[Any] | None:
    """The outcomes as JSON data; None for older predictions, which lack the images' indices.

    These are 1 + the largest index, the indices and what is right as bits, the groups if any, and the digests of scores
    and indices, which the record has too.
    """
    stored = StoredPredictions.read(path.parent)
    if stored is None or stored.rows is None:
        return None
    scores, rows = stored.scores, stored.rows
    try:
        order = np.argsort(rows)
        if rows.min() < 0 or rows.max() > _LARGEST:
            raise ValueError(f"rows lie in {rows.min()}..{rows.max()}")
        inside = np.zeros(1 + int(rows.max()), bool)
        inside[rows] = True
        right = (scores.argmax(axis=1) == stored.labels)[order]
        if inside.sum() != len(rows) or right.shape != rows.shape:
            raise ValueError("scores, labels and rows do not belong together")
    except (ValueError, KeyError, IndexError, TypeError, MemoryError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}): run its command again with --force") from error
    packed = (base64.b64encode(np.packbits(bits).tobytes()).decode() for bits in (inside, right))
    groups = None if stored.groups is None else stored.groups[order].tolist()
    digest = hashlib.sha256(f"{scores.dtype.str}{scores.shape};".encode() + scores.tobytes()).hexdigest()
    return [len(inside), *packed, groups, digest, hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()]


def _unpacked(text: str, size: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=size)


def image_covariance(trials: Sequence[ImageOutcomes]) -> float:
    """Mean covariance of the mean paired differences d_t of two trials, from the test images that both share.

    ``trials`` have, in the place of ``correct``, the paired differences x_ti of two rows in {-1, 0, 1} (or means over
    seeds). The model is x_ti = mu + a_i + b_t + e_ti with independent effects of the image, the trial and both. With
    test sets T_t of m_t images, d_t = mean of x_ti over T_t, and for two trials, given their k shared images,

        cov(d_t, d_s) = k var(a) / (m_t m_s),

    so that the variance of the mean of n trials, with C the mean covariance over pairs, is

        var(mean d) = var(d) / n + C (n - 1) / n = E[s^2] / n + C,    since E[s^2] = var(d) - C.

    C is estimated by the mean over pairs of sum_{i shared} (x_ti - d_t)(x_si - d_s) / (m_t m_s). Centring by the
    estimated means shrinks its expectation by 1 - 1/m_t - 1/m_s + k/(m_t m_s), which is divided out. If every image
    behaves the same in every trial (b = e = 0), C / E[s^2] is n_test / n_train: Nadeau and Bengio's factor (2003).

    If all trials share one test set, k = m and C = var(a) / m: the variance that comes from the choice of its images.
    The variance of the mean is then that of the two-way random effects model of trials and images, as in studies with
    many readers and many cases (Gallas 2006, "One-shot estimate of MRMC variance: AUC").

    Where images have groups, a_i is shared by the images of a group: i runs over groups, with sums over their images in
    the place of x_ti - d_t, and numbers of images n_ti in the place of 1. Then 1/m_t is the mean of n_ti / m_t over the
    shared groups, weighted by n_ti n_si.
    """
    units = [one.rows if one.groups is None else one.groups for one in trials]
    size = 1 + max(int(one.max()) for one in units)
    centred, inside = np.zeros((len(trials), size)), np.zeros((len(trials), size))
    for i, (one, unit) in enumerate(zip(trials, units, strict=True)):
        np.add.at(inside[i], unit, 1.0)
        np.add.at(centred[i], unit, one.correct - one.correct.mean())
    m = inside.sum(axis=1)
    products, shared = np.outer(m, m), inside @ inside.T
    own = np.broadcast_to(1 / m[:, None], shared.shape)
    if any(one.groups is not None for one in trials):
        own = inside**2 @ inside.T / (m[:, None] * np.maximum(shared, 1.0))
    shrinkage = 1 - (own + own.T) + shared / products
    pairs = np.triu_indices(len(trials), 1)
    covariances = (centred @ centred.T / products)[pairs] / np.maximum(shrinkage[pairs], 1e-12)
    return float(covariances.mean())

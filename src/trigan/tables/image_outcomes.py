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
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        return {}
    packed = index.get(path, "outcomes", _packed_outcomes)
    if packed is None:
        return {}
    *outcomes, scores, images = packed
    try:
        if scores != record["result"]["predictions"]:
            raise ValueError("other scores")
        return {record["run"]: unpack_outcomes(outcomes, record, images)}
    except ValueError as error:
        raise ArtifactError(f"{path}: not the predictions of its record: run its command again with --force") from error


def pack_outcomes(one: ImageOutcomes) -> list[Any]:
    """As JSON data: 1 + the largest index, the indices and what is right as bits, and the groups, None without."""
    inside = np.zeros(1 + int(one.rows.max()), bool)
    inside[one.rows] = True
    packed = (base64.b64encode(np.packbits(bits).tobytes()).decode() for bits in (inside, one.correct > 0))
    return [len(inside), *packed, None if one.groups is None else one.groups.tolist()]


def unpack_outcomes(packed: Sequence[Any], record: Record, digest: str | None = None) -> ImageOutcomes:
    """The outcomes of `pack_outcomes`; ``digest`` is that of their indices, if it is known.

    Raises:
        ValueError: they are not those of the record: other test images, or another accuracy.
    """
    size, rows, correct, groups = packed
    found = np.flatnonzero(_unpacked(rows, size))
    right = _unpacked(correct, len(found)).astype(np.float64)
    of_groups = None if groups is None else np.asarray(groups, np.int64)
    split: Any = record["result"]["split"]
    digest = digest or _rows_digest(found)
    if split.get("test", {}).get("sha256", digest) != digest:
        raise ValueError("other test images")
    if not len(right) or abs(right.mean() - record["result"]["test"]["accuracy"]) >= 1e-9:
        raise ValueError("another accuracy")
    if of_groups is not None and of_groups.shape != found.shape:
        raise ValueError("groups of other images")
    return ImageOutcomes(found, right, of_groups)


def _packed_outcomes(path: Path) -> list[Any] | None:
    """The outcomes as JSON data, with the digests of scores and indices, which the record has too.

    None for older predictions, which lack the images' indices.
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
    ordered = None if stored.groups is None else stored.groups[order]
    packed = pack_outcomes(ImageOutcomes(rows[order], right, ordered))
    digest = hashlib.sha256(f"{scores.dtype.str}{scores.shape};".encode() + scores.tobytes()).hexdigest()
    return [*packed, digest, _rows_digest(rows[order])]


def _rows_digest(rows: np.ndarray) -> str:
    """The digest that a record has of ascending indices."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def _unpacked(text: str, size: int) -> np.ndarray:
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    if not isinstance(size, int) or len(bits) != (size + 7) // 8:
        raise ValueError(f"{len(bits)} bytes are not {size} bits")
    return np.unpackbits(bits, count=size)


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

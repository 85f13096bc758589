"""The predictions that a run stored: scores that its record does not have, and the sampling error of its test set."""

import struct
import tokenize
import zipfile
import zlib
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trigan.errors import ArtifactError
from trigan.records.file_index import FileIndex
from trigan.records.record import EXTERNAL, Record
from trigan.scores import (
    BY_RECALL,
    CALIBRATION_BINS,
    FEW_LABELS,
    MANY_LABELS,
    PROBABILITY,
    RANKING,
    SPECIFICITY,
    adaptive_calibration_error,
    class_evidence,
    mean_of_classes,
    ordered_by_confidence,
    probability_scores,
    ranking_by_class,
    ranking_scores,
    risk_by_coverage,
    scores_by_recall,
)

PREDICTIONS_FILE = "predictions.npz"
#: Resamples of a test set, and how many are scored at a time.
RESAMPLES, CHUNK = 1000, 100


@dataclass(frozen=True, eq=False)
class StoredPredictions:
    """The test images of a run: scores (N, K), labels (N,), indices in the data set (N,) and groups (N,).

    ``rows`` is None in old files, ``groups`` where the data set has none.
    """

    scores: np.ndarray
    labels: np.ndarray
    rows: np.ndarray | None = None
    groups: np.ndarray | None = None

    @classmethod
    def read(cls, folder: Path) -> "StoredPredictions | None":
        """Those of the run in a folder; None if it has none.

        Raises:
            ArtifactError: the file is damaged.
        """
        path = folder / PREDICTIONS_FILE
        if not path.is_file():
            return None
        stored = read_arrays(path)
        try:
            known = {name: stored[name] for name in ("rows", "groups") if name in stored}
            scores, labels = stored["scores"], stored["labels"]
            if scores.ndim != 2 or any(len(array) != len(scores) for array in (labels, *known.values())):
                raise ValueError(f"scores {scores.shape} and labels {labels.shape} do not belong together")
            return cls(scores, labels, **known)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path}: cannot be read ({error}): run its command again with --force") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``npz`` file, which runs no code.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, RuntimeError) as error:
        cause: Exception = error
    except (zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, tokenize.TokenError) as error:
        cause = error
    raise ArtifactError(f"{path}: cannot be read ({cause}): run its command again with --force") from cause


def frequencies(record: Record) -> tuple[list[int], int, int] | None:
    """The training labels of each class, and the bounds of many and few of them; None if the record lacks them."""
    result: Any = record["result"]
    evaluation: Any = record["config"].get("evaluation") or {}
    bounds = evaluation.get("many_labels", MANY_LABELS), evaluation.get("few_labels", FEW_LABELS)
    counts = result["split"].get("labelled", {}).get("class_counts")
    return None if counts is None else (counts, *bounds)


def with_ranking_scores(record: Record, folder: Path, metric: str) -> Record:
    """The record; one from before ``metric`` was recorded has it from the predictions in its folder, if they are there.

    They are the same numbers that a new record has, at the default specificity.
    """
    test = record["result"]["test"]
    only_classes = EXTERNAL in record["result"]["stamps"] and "nll" not in test
    later = metric in RANKING or (metric in PROBABILITY and "nll" in test)
    if not later or metric in test or only_classes:
        return record
    if (stored := StoredPredictions.read(folder)) is None:
        return record
    if metric in PROBABILITY:
        found: dict[str, Any] = {**probability_scores(stored.scores, stored.labels)}
    else:
        found = ranking_scores(stored.scores, stored.labels, "nll" in test)
    return {**record, "result": {**record["result"], "test": {**test, **found}}}  # type: ignore[typeddict-item]


@dataclass(frozen=True)
class SamplingInterval:
    """A 95 % interval of one run's score over test sets of its size, from ``units`` images, or groups of images."""

    low: float
    high: float
    images: int
    groups: int | None = None

    @property
    def units(self) -> str:
        """What was resampled, in words."""
        return f"{self.images} images" if self.groups is None else f"{self.images} images in {self.groups} groups"


def sampling_interval(record: Record, metric: str, folder: Path) -> SamplingInterval | None:
    """The percentile bootstrap of a score over the test images, or over their groups where there are groups.

    Whole groups are drawn with replacement, since the images of a group are not independent (cluster bootstrap:
    Davison and Hinkley 1997, section 3.8). The draws have a fixed seed and are the same for all runs of one test set
    size. A class that a resample lacks is left out of that resample's mean. The training is not resampled.

    Returns:
        None if the folder has no predictions or the record no such score, or if no resample changes it: a score of 0
        or 100 %, or a single group.
    """
    stored = StoredPredictions.read(folder) if record["result"]["test"].get(metric) is not None else None
    if stored is None:
        return None
    groups = None if stored.groups is None else np.unique(stored.groups, return_inverse=True)[1]
    count = len(stored.labels) if groups is None else int(groups.max()) + 1
    draws = _resamples(count)
    values = np.concatenate(
        [
            score_of_resamples(record, metric, stored, part if groups is None else part[:, groups])
            for part in np.split(draws, RESAMPLES // CHUNK)
        ]
    )
    low, high = np.nanquantile(values, [0.025, 0.975]).tolist()
    return None if low == high else SamplingInterval(low, high, len(stored.labels), None if groups is None else count)


def indexed_interval(record: Record, metric: str, folder: Path, index: FileIndex) -> SamplingInterval | None:
    """As `sampling_interval`, from the index if the predictions have not changed since."""
    test = record["result"]["test"]
    if test.get(metric) is None or not (path := folder / PREDICTIONS_FILE).is_file():
        return None
    level, kind = test.get("specificity", SPECIFICITY), "scores" if "nll" in test else "classes"

    def derive(path: Path) -> list[Any] | None:
        found = sampling_interval(record, metric, folder)
        return None if found is None else list(astuple(found))

    of_classes = f"-{frequencies(record)}" if metric in BY_RECALL else ""
    # the interval depends on these parts of the record, and on the predictions
    found = index.get(path, f"interval-{metric}-{level}-{kind}{of_classes}", derive)
    return None if found is None else SamplingInterval(*found)


@lru_cache(maxsize=4)
def _resamples(count: int) -> np.ndarray:
    """How often each of ``count`` units is in each resample, uint16 (RESAMPLES, count)."""
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    return np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(np.uint16)


def score_of_resamples(record: Record, metric: str, stored: StoredPredictions, weights: np.ndarray) -> np.ndarray:
    """A score with test images counted as often as ``weights`` (B, N) say, (B,); with ones it is that of the record."""
    test, labels = record["result"]["test"], stored.labels
    if metric in RANKING:
        evidence = class_evidence(stored.scores, "nll" in test)
        by_class = ranking_by_class(metric, evidence, labels, test.get("specificity", SPECIFICITY), weights)
        return mean_of_classes(by_class)
    if metric in PROBABILITY:
        return _probability_scores(metric, stored, weights)
    counts, predicted = weights.astype(np.float64), stored.scores.argmax(axis=1)
    of_class, as_class = (np.eye(stored.scores.shape[1])[index] for index in (labels, predicted))
    right = (predicted == labels).astype(np.float64)
    if metric == "accuracy":
        return np.asarray(counts @ right / counts.sum(axis=1))
    if metric in ("balanced_accuracy", "macro_f1"):
        hits, present = counts @ (of_class * right[:, None]), counts @ of_class
        with np.errstate(invalid="ignore"):
            ratio = hits / present if metric == "balanced_accuracy" else 2 * hits / (present + counts @ as_class)
        return mean_of_classes(ratio)
    if metric in BY_RECALL:
        with np.errstate(invalid="ignore"):
            recalls = (counts @ (of_class * right[:, None])) / (counts @ of_class)
        known = frequencies(record)
        assert known is not None, "a record with these scores has them"
        return scores_by_recall(recalls, *known)[metric]
    odds = class_evidence(stored.scores, probabilistic=True)
    if metric == "nll":
        return np.asarray(counts @ np.logaddexp(0, -odds[np.arange(len(labels)), labels]) / counts.sum(axis=1))
    confidence = (1 / (1 + np.exp(-odds))).max(axis=1)
    bins = (
        np.searchsorted(np.linspace(0, 1, CALIBRATION_BINS + 1), confidence, side="left").clip(1, CALIBRATION_BINS) - 1
    )
    gaps = counts @ (np.eye(CALIBRATION_BINS)[bins] * (right - confidence)[:, None])
    return np.asarray(np.abs(gaps).sum(axis=1) / counts.sum(axis=1))


def _probability_scores(metric: str, stored: StoredPredictions, weights: np.ndarray) -> np.ndarray:
    """A score of ``PROBABILITY`` with test images counted as often as ``weights`` (B, N) say, (B,)."""
    order, confidence, right, squares = ordered_by_confidence(stored.scores, stored.labels)
    counts = weights[:, order].astype(np.int64)
    if metric == "brier":
        return np.asarray(counts @ squares / counts.sum(axis=1))
    if metric == "aurc":
        return np.array([risk_by_coverage(np.repeat(right, one)).mean() for one in counts])
    return np.array([adaptive_calibration_error(np.repeat(confidence, one), np.repeat(right, one)) for one in counts])

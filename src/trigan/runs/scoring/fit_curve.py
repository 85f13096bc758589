"""The curve along a fit: copies of C, scored after everything is frozen, on images that are not the test set.

Validation images are used if the regime has any. Otherwise these are training images whose labels the regime hides;
their labels are read after the weights are frozen, for this picture alone, and the record has a stamp. With
``selection.curve=test`` the test set is used, with a stamp of its own.
"""

from typing import Literal

import numpy as np
import torch

from trigan.config.compose import RunConfig
from trigan.datasets.splits.splitter import DataSplit, find_first_copies
from trigan.datasets.types import ImageDataset, LabelledImages
from trigan.errors import ConfigError
from trigan.evaluation.feature_map import evenly_spaced_indices

#: Which images a curve is drawn on.
CurveImages = Literal["validation", "hidden_labels", "test"]
#: The stamp of a record with such a curve.
CURVE_STAMPS = {"hidden_labels": "curve-on-hidden-labels", "test": "curve-on-test"}
#: At most so many images with hidden labels are scored.
MAX_IMAGES = 5_000


def curve_images(run_config: RunConfig, dataset: ImageDataset, split: DataSplit) -> CurveImages:
    """What the curve of a run with ``selection.snapshots`` is drawn on.

    Raises:
        ConfigError: all training labels are visible and none validates, so no image is left for a curve.
    """
    selection = run_config.config["selection"]
    if selection["curve"] == "test":
        return "test"
    if len(split.parts.validation):
        return "validation"
    if not len(_hidden_rows(dataset, split)):
        raise ConfigError(
            f"selection.snapshots={selection['snapshots']}: this regime hides no label and has no validation labels, "
            "so no image is left for a curve; set regime.validation=within, selection.snapshots=null, or "
            "selection.curve=test (stamped)"
        )
    return "hidden_labels"


def _hidden_rows(dataset: ImageDataset, split: DataSplit) -> np.ndarray:
    """Source indices of images with a label of the task, not visible and not in the test set, without their copies."""
    if len(split.parts.unlabelled):
        rows = np.sort(split.parts.unlabelled)
        labelled: np.ndarray = rows[split.task_labels(dataset.labels.numpy()[rows]) >= 0]
        return labelled
    parts, first = split.parts, find_first_copies(dataset)
    taken = np.concatenate([parts.labelled, parts.validation, parts.test])
    free: np.ndarray = np.flatnonzero((split.task_labels(dataset.labels.numpy()) >= 0) & ~np.isin(first, first[taken]))
    return free


def hidden_images(dataset: ImageDataset, split: DataSplit) -> LabelledImages:
    """Training images whose labels the regime hides, with these labels; only for frozen networks."""
    rows = _hidden_rows(dataset, split)
    rows = rows[evenly_spaced_indices(len(rows), MAX_IMAGES).numpy()]
    labels = split.task_labels(dataset.labels.numpy()[rows])
    return LabelledImages(dataset.images[rows], torch.from_numpy(labels))

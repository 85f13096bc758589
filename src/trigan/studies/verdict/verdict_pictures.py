"""Pictures of a verdict's page: real images of each class, and test images that the strongest row gets wrong."""

from collections import Counter
from pathlib import Path

import numpy as np

from trigan.datasets.types import ImageDataset
from trigan.plots.sample_grids import save_contact_sheet
from trigan.reports.report_data import PREDICTIONS, ReportData, median_run
from trigan.reports.verdict_page import MISTAKES_FILE, REAL_FILE
from trigan.tables.stored_predictions import StoredPredictions

#: Images in a row of a picture, and rows of the picture of mistakes.
COLUMNS, CONFUSIONS = 8, 8


def write_real(dataset: ImageDataset, rows: np.ndarray, folder: Path) -> dict[str, str]:
    """A row of images of each class, out of the images ``rows`` of the data set; returns the file and its caption."""
    labels = dataset.labels.numpy()[rows]
    shown = [_pixels(dataset, rows[labels == label]) for label in range(len(dataset.class_names))]
    save_contact_sheet(shown, dataset.class_names, folder / REAL_FILE)
    return {REAL_FILE: "Real training images of each class, as the networks get them."}


def write_mistakes(dataset: ImageDataset, report: ReportData, row: str, column: str, folder: Path) -> dict[str, str]:
    """The row's most frequent confusions, in its run with the median score; returns the file and its caption, if any.

    Raises:
        ArtifactError: the predictions are damaged.
    """
    record = median_run(report.table.cells[row, column])
    path = report.file(record, PREDICTIONS)
    stored = StoredPredictions.read(path.parent) if path is not None else None
    if stored is None or stored.rows is None:
        return {}
    images, predicted, labels = stored.rows, stored.scores.argmax(axis=1), stored.labels
    wrong = predicted != labels
    if not wrong.any():
        return {}
    pairs = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(CONFUSIONS)
    shown = [_pixels(dataset, images[(labels == one) & (predicted == other)]) for (one, other), _ in pairs]
    names = [f"{dataset.class_names[one]} as {dataset.class_names[other]}" for (one, other), _ in pairs]
    save_contact_sheet(shown, names, folder / MISTAKES_FILE)
    trial = record["tags"]["trial"]
    caption = f"Test images that {row} gets wrong in trial {trial} ({wrong.sum()} of {len(labels)}), the most frequent "
    return {MISTAKES_FILE: caption + "confusions first."}


def _pixels(dataset: ImageDataset, rows: np.ndarray) -> np.ndarray:
    """The first images of ``rows``, uint8 (n, S, S, C)."""
    return np.asarray(dataset.images[rows[:COLUMNS]].movedim(1, 3))

"""Pictures of a verdict's page: real images of each class, and test images that the strongest row gets wrong."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trigan.datasets.types import ImageDataset
from trigan.plots.sample_grids import save_sample_grid
from trigan.reports.report_data import PREDICTIONS, ReportData, median_run, wrap_damage
from trigan.reports.verdict_page import MISTAKES_FILE, REAL_FILE

#: Images in a row of a picture, and rows of the picture of mistakes.
COLUMNS, CONFUSIONS = 8, 8


def write_real(dataset: ImageDataset, rows: np.ndarray, folder: Path) -> dict[str, str]:
    """A row of images of each class, out of the images ``rows`` of the data set; returns the file and its caption."""
    labels = dataset.labels.numpy()[rows]
    shown = [rows[labels == label][:COLUMNS] for label in range(len(dataset.class_names))]
    save_sample_grid(_grid(dataset, shown), folder / REAL_FILE, dataset.class_names)
    return {REAL_FILE: "Real training images of each class, as the networks get them."}


def write_mistakes(dataset: ImageDataset, report: ReportData, row: str, column: str, folder: Path) -> dict[str, str]:
    """The row's most frequent confusions, in its run with the median score; returns the file and its caption, if any.

    Raises:
        ArtifactError: the predictions are damaged.
    """
    record = median_run(report.table.cells[row, column])
    path = report.file(record, PREDICTIONS)
    if path is None:
        return {}
    with wrap_damage(path), np.load(path) as stored:
        images, predicted, labels = stored["rows"], stored["scores"].argmax(axis=1), stored["labels"]
    wrong = predicted != labels
    if not wrong.any():
        return {}
    pairs = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(CONFUSIONS)
    shown = [images[(labels == one) & (predicted == other)][:COLUMNS] for (one, other), _ in pairs]
    names = [f"{dataset.class_names[one]} as {dataset.class_names[other]}" for (one, other), _ in pairs]
    save_sample_grid(_grid(dataset, shown), folder / MISTAKES_FILE, names)
    trial = record["tags"]["trial"]
    caption = f"Test images that {row} gets wrong in trial {trial} ({wrong.sum()} of {len(labels)}), the most frequent "
    return {MISTAKES_FILE: caption + "confusions first."}


def _grid(dataset: ImageDataset, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Images of the data set, uint8 (rows, COLUMNS, H, W, C); places without an image are white."""
    pixels = dataset.images.permute(0, 2, 3, 1).numpy()
    grid = np.full((len(rows), COLUMNS, *pixels.shape[1:]), 255, dtype=np.uint8)
    for place, chosen in zip(grid, rows, strict=True):
        place[: len(chosen)] = pixels[chosen]
    return grid

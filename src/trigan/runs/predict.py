"""New images classified by a finished run, as batches and as CSV."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trigan.config.nodes import node_at
from trigan.datasets.image_files import read_images
from trigan.datasets.sources.geometry import Geometry
from trigan.datasets.sources.hub import Columns
from trigan.runs.finished_run import FinishedRun
from trigan.tracking.curve_files import csv_bytes


def predict_files(
    finished: FinishedRun, files: Sequence[Path], batch: int
) -> Iterator[tuple[list[str], Tensor, list[str]]]:
    """Classify the images of files, decoded, cropped and resized as the run's own data, ``batch`` in memory at a time.

    Yields:
        n names of images (``FILE``, ``FILE.parquet[3]``, ``FILE.npz:test_images[3]``), their logits float32 (n, K), and
        one line for each image that could not be read.
    """
    spec, source = finished.spec, node_at(finished.record["config"], "data.source") or {}
    column = node_at(source, "columns.image")
    columns = Columns(image=column) if isinstance(column, str) else Columns()
    geometry = Geometry(spec.size, spec.channels, source.get("fit", "crop"))
    images = read_images(files, geometry, columns, source.get("window"))
    while portion := list(islice(images, batch)):
        readable = [image for image in portion if image.pixels is not None]
        pixels = np.reshape([image.pixels for image in readable], (-1, spec.channels, spec.size, spec.size))
        logits = finished.logits(torch.from_numpy(pixels.astype(np.uint8)))
        errors = [image.error for image in portion if image.pixels is None]
        yield [image.location for image in readable], logits, errors


def csv_header(finished: FinishedRun) -> bytes:
    """The first line of the CSV: without probabilities only path and prediction."""
    names = ["confidence", *(f"p_{name}" for name in finished.classes)] if finished.probabilistic else []
    return csv_bytes([["path", "prediction", *names]])


def csv_rows(finished: FinishedRun, locations: Sequence[str], logits: Tensor) -> bytes:
    """The lines of images with these logits (n, K)."""
    names = [finished.classes[k] for k in logits.argmax(1).tolist()]
    rows = [[location, name] for location, name in zip(locations, names, strict=True)]
    if finished.probabilistic:
        for row, values in zip(rows, logits.double().softmax(1).tolist(), strict=True):
            row += [f"{value:.7g}" for value in (max(values), *values)]
    return csv_bytes(rows)

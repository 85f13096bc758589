"""``trigan predict``: new images classified by a finished run, as CSV."""

import argparse
import contextlib
import csv
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from trigan.atomic import atomic_write
from trigan.commands.arguments import Parser, positive_int
from trigan.commands.run_argument import add_run_arguments, open_from_arguments
from trigan.data.image_files import DecodedImage, count_images, find_files, read_images
from trigan.data.inputs import EVALUATION_BATCH
from trigan.data.sources.columns import Columns
from trigan.data.sources.decode import Geometry
from trigan.execution.progress import ProgressBar, warn
from trigan.runs.finished_run import FinishedRun, image_column_of
from trigan.samples.filters import outputs

#: Exit code where some images could not be read and the others were classified.
INCOMPLETE = 3

_DESCRIPTION = """\
Classify new images with a finished run. They are decoded, cropped to a square, converted and resized just as the
run's own data were. The CSV has a row per image, in sorted order of the files: path, prediction, confidence, and one
column p_CLASS with the probability of each class. A run whose scores are no probabilities (a probe that could not be
calibrated: its record has no nll) gives path and prediction alone. An image that cannot be read is one line of warning
and no row; the exit code is 3 then."""
_EPILOG = """\
examples:
  trigan predict 55452682 photo.png
  trigan predict outputs/runs/55452682c6eb7981266a folder/ --out predictions.csv
  trigan predict 55452682 test.parquet --batch 1024 --out - | head"""


def main(arguments: list[str]) -> int:
    """Classify the images at a path; 3 if some of them could not be read."""
    parser = Parser(
        prog="trigan predict",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="an image, a folder (all depths), or a Parquet or .npz file"
    )
    parser.add_argument("--out", default="-", metavar="FILE", help="where the CSV goes (default: -, standard output)")
    parser.add_argument(
        "--batch", type=positive_int, default=EVALUATION_BATCH, metavar="N", help="images in memory at once"
    )
    options = parser.parse_intermixed_args(arguments)
    files = find_files(options.path)
    finished = open_from_arguments(options)
    if not finished.probabilistic:
        warn(f"scores of run {finished.run[:12]} are no probabilities: the CSV has path and prediction alone")
    geometry = Geometry(finished.spec.size, finished.spec.channels)
    images = read_images(files, geometry, Columns(image=image_column_of(finished.record)))
    quiet = options.out == "-" and sys.stdout.isatty()
    with _written(options.out) as write, ProgressBar("classifying", count_images(files), quiet) as bar:
        unreadable = _classify(finished, images, options.batch, write, bar)
    if unreadable:
        warn(f"{unreadable} images could not be read and have no row")
    return INCOMPLETE if unreadable else 0


def _classify(
    finished: FinishedRun, images: Iterator[DecodedImage], batch: int, write: Callable[[str], None], bar: ProgressBar
) -> int:
    """Write header and rows; returns how many images could not be read."""
    unreadable = 0
    write(_lines([_header(finished)]))
    while portion := list(islice(images, batch)):
        readable = [image for image in portion if image.pixels is not None]
        for image in portion:
            if image.pixels is None:
                bar.say(f"trigan: warning: skipped: {image.error}")
        unreadable += len(portion) - len(readable)
        if readable:
            write(_lines(_rows(finished, readable)))
        bar.advance(len(portion))
    return unreadable


def _header(finished: FinishedRun) -> list[str]:
    if not finished.probabilistic:
        return ["path", "prediction"]
    return ["path", "prediction", "confidence", *(f"p_{name}" for name in finished.classes)]


def _rows(finished: FinishedRun, images: list[DecodedImage]) -> list[list[str]]:
    pixels = torch.from_numpy(np.stack([image.pixels for image in images if image.pixels is not None]))
    scores = outputs(finished.classifier, pixels)
    names = [finished.classes[k] for k in scores.argmax(1).tolist()]
    rows = [[image.location, name] for image, name in zip(images, names, strict=True)]
    if finished.probabilistic:
        probabilities = scores.double().softmax(1)
        for row, values in zip(rows, probabilities.tolist(), strict=True):
            row += [f"{value:.7g}" for value in (max(values), *values)]
    return rows


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@contextmanager
def _written(out: str) -> Iterator[Callable[[str], None]]:
    """What takes the text: standard output, or a file that is there when all of it is."""
    with contextlib.ExitStack() as stack:
        file = sys.stdout.buffer if out == "-" else stack.enter_context(atomic_write(Path(out).absolute()))

        def write(text: str) -> None:
            # names of files need not be text; they leave as the bytes that they are
            file.write(text.encode(errors="surrogateescape"))

        yield write
        file.flush()

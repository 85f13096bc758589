"""The commands on a finished run: ``trigan predict``, ``trigan sample`` and ``trigan export``."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from trigan.atomic import atomic_write, check_output_folder
from trigan.commands.arguments import Parser, natural_int, positive_float, positive_int, share
from trigan.datasets.image_files import count_images, find_files
from trigan.datasets.inputs import EVALUATION_BATCH
from trigan.execution.progress import ProgressBar, warn
from trigan.interop.export_run import export_run
from trigan.interop.onnx_file import require_onnx
from trigan.runs.finished_run import LABEL_THRESHOLD, FinishedRun, open_run
from trigan.runs.predict import csv_header, csv_rows, predict_files
from trigan.runs.write_samples import SampleRequest, write_samples
from trigan.samples.generate import LatentTransform

#: Exit code where some images could not be read, or some samples were not found.
INCOMPLETE = 3

_PREDICT = """\
Classify new images with a finished run. They are decoded, cropped to a square, converted and resized as the run's own
data were. The CSV has a row per image, in sorted order of the files: path, prediction, confidence and, in p_CLASS, the
probability of each class. A run whose scores are not probabilities (its record has no nll) gives path and prediction
alone. An image that cannot be read gives a warning and no row; the exit code is 3 then.

examples:
  trigan predict 55452682 photo.png
  trigan predict outputs/runs/55452682c6eb7981266a folder/ --out predictions.csv
  trigan predict 55452682 test.parquet --batch 1024 --out - | head"""
_SAMPLE = """\
Draw labelled images from a finished run's generator. A conditional generator takes the label; the samples of an
unconditional one are labelled by the run's own classifier, where it is confident. The command writes
DIR/CLASS/000123.png, or DIR/samples.parquet with the columns image {bytes, path} and label: `data=folder data.root=DIR`
reads both, `data=hub data.root=DIR` the Parquet file. The same run, seed and number give the same images; a larger
number begins with those of a smaller one. If images are missing, the others are written and the exit code is 3.

examples:
  trigan sample 55452682 --per-class 100
  trigan sample outputs/runs/55452682c6eb7981266a --per-class 5000 --format parquet --out synthetic
  trigan run data=folder data.root=synthetic"""
_EXPORT = """\
Write a finished run's networks for use elsewhere: classifier.safetensors and classifier.onnx (images -> logits), the
same of the generator where there is one (z, and y if it is conditional, -> images), trigan.json (class names, sizes,
normalisation) and README.txt. ONNX files take any number of rows; if onnxruntime is installed, it compares each with
torch, and the largest difference is printed.

examples:
  trigan export 55452682
  trigan export outputs/runs/55452682c6eb7981266a --out model --no-onnx"""


def predict(arguments: list[str]) -> int:
    """Classify the images at a path; 3 if some of them could not be read."""
    parser = _parser("trigan predict", _PREDICT)
    path_help = "an image, a folder (all depths), or a Parquet or .npz file"
    parser.add_argument("path", metavar="PATH", type=Path, help=path_help)
    parser.add_argument("--out", default="-", metavar="FILE", help="where the CSV goes (default: -, standard output)")
    batch_help = "images in memory at a time"
    parser.add_argument("--batch", type=positive_int, default=EVALUATION_BATCH, metavar="N", help=batch_help)
    options = parser.parse_intermixed_args(arguments)
    files = find_files(options.path)
    finished = _open(options)
    if not finished.probabilistic:
        warn(f"scores of run {finished.run[:12]} are not probabilities: the CSV has path and prediction alone")
    to_stdout, unreadable = options.out == "-", 0
    quiet = to_stdout and sys.stdout.isatty()
    target = contextlib.nullcontext(sys.stdout.buffer) if to_stdout else atomic_write(Path(options.out).absolute())
    with target as out, ProgressBar("classifying", count_images(files), quiet) as bar:
        out.write(csv_header(finished))
        for batch in predict_files(finished, files, options.batch):
            for error in batch.errors:
                bar.say(f"trigan: warning: skipped: {error}")
            out.write(csv_rows(finished, batch))
            unreadable += len(batch.errors)
            bar.advance(len(batch.locations) + len(batch.errors))
        out.flush()
    if unreadable:
        warn(f"{unreadable} images could not be read and have no row")
    return INCOMPLETE if unreadable else 0


def sample(arguments: list[str]) -> int:
    """Write labelled samples; 3 if some are missing."""
    options = _sample_parser().parse_intermixed_args(arguments)
    finished = _open_for(options)
    folder = options.out or options.outputs / "samples" / finished.run[:12]
    spread = LatentTransform(options.truncation, options.latent_scale)
    request = SampleRequest(options.per_class, options.seed, options.threshold, spread, options.format)
    total = options.per_class * len(finished.classes)
    with ProgressBar("sampling", total) as bar:
        missing, advice = write_samples(finished, folder, request, options.force, bar.advance)
    if missing:
        counts = ", ".join(f"{name}: {count}" for name, count in missing.items())
        warn(f"{sum(missing.values())} of {total} images are missing ({counts}): {advice}")
    print(folder)
    return INCOMPLETE if missing else 0


def export(arguments: list[str]) -> int:
    """Write the networks as safetensors and ONNX files."""
    parser = _parser("trigan export", _EXPORT)
    _add_folder_arguments(parser, "OUTPUTS/exports/HASH")
    onnx_help = "write ONNX files too (default: yes)"
    parser.add_argument("--onnx", action=argparse.BooleanOptionalAction, default=True, help=onnx_help)
    options = parser.parse_intermixed_args(arguments)
    if options.onnx:
        require_onnx()
    finished = _open_for(options)
    folder = options.out or options.outputs / "exports" / finished.run[:12]
    for name, difference in export_run(finished, folder, options.onnx, options.force).items():
        off = f"at most {difference:.2g} off torch" if difference is not None else None
        print(f"{name}: {off or 'not checked: onnxruntime is not installed'}")
    print(folder)
    return 0


def _parser(prog: str, description: str) -> Parser:
    """A parser with the arguments that name a finished run."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=prog, description=description, allow_abbrev=False, formatter_class=layout)
    parser.add_argument("run", metavar="RUN", help="a run's directory, or the first characters of its hash")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs (default: outputs)")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default), cuda, cuda:1")
    allow_help = "a module of your own that the run is built from"
    parser.add_argument("--allow", metavar="MODULE", action="append", default=[], help=allow_help)
    return parser


def _sample_parser() -> Parser:
    parser = _parser("trigan sample", _SAMPLE)
    _add_folder_arguments(parser, "OUTPUTS/samples/HASH")
    parser.add_argument("--per-class", type=positive_int, required=True, metavar="N", help="images of each class")
    parser.add_argument("--format", choices=("folder", "parquet"), default="folder")
    parser.add_argument("--seed", type=natural_int, default=0, metavar="S", help="of the latents (default: 0)")
    threshold_help = (
        f"the least probability of the label by the run's classifier (default: {LABEL_THRESHOLD} where the classifier "
        "labels; none for a conditional generator)"
    )
    parser.add_argument("--threshold", type=share, metavar="T", help=threshold_help)
    truncation_help = "draw latents within -T..T: fewer bad samples, less variety (default: no bound)"
    parser.add_argument("--truncation", type=positive_float, metavar="T", help=truncation_help)
    scale_help = "multiply latents by S (default: 1, as in training)"
    parser.add_argument("--latent-scale", type=positive_float, default=1.0, metavar="S", help=scale_help)
    return parser


def _add_folder_arguments(parser: Parser, default: str) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"a new folder (default: {default})")
    parser.add_argument("--force", action="store_true", help="replace a folder that an earlier call wrote")


def _open_for(options: Any) -> FinishedRun:
    """The run, after a check of the folder that the command is to write."""
    if options.out is not None:
        check_output_folder(options.out, options.force)
    return _open(options)


def _open(options: Any) -> FinishedRun:
    finished = open_run(options.run, options.outputs, options.allow, options.device)
    if finished.diverged:
        warn(f"run {finished.run[:12]} diverged in training; its networks have their last finite weights")
    return finished

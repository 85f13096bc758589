"""The commands on a finished run: ``trigan predict``, ``trigan sample`` and ``trigan export``."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigan.absent_libraries import refuse_early
from trigan.atomic import atomic_write, check_output_folder
from trigan.commands.arguments import Parser, help_text, natural_int, positive_float, positive_int, share
from trigan.config.settings import LABEL_THRESHOLD
from trigan.execution.progress import ProgressBar, warn

if TYPE_CHECKING:  # torch is imported once the arguments are known to be right
    from trigan.runs.finished_run import FinishedRun

#: Exit code where some images could not be read, or some samples were not found.
INCOMPLETE = 3


def predict(arguments: list[str]) -> int:
    """Classify the images at a path; 3 if some of them could not be read."""
    parser = _parser("predict")
    add = parser.add_argument
    add("path", metavar="PATH", type=Path, help="an image, a folder (all depths), or a Parquet or .npz file")
    add("--out", default="-", metavar="FILE", help="where the CSV goes (default: -, standard output)")
    add("--batch", type=positive_int, metavar="N", help="images in memory at a time")
    options = parser.parse_intermixed_args(arguments)
    refuse_early("trigan.datasets.image_files:find_files", options.path)
    _refuse_early(options)
    from trigan.datasets.image_files import count_images, find_files
    from trigan.datasets.inputs import EVALUATION_BATCH
    from trigan.runs.predict import csv_header, csv_rows, predict_files

    files = find_files(options.path)
    finished = _open(options)
    if not finished.probabilistic:
        warn(f"scores of run {finished.run[:12]} are not probabilities: the CSV has path and prediction alone")
    to_stdout, unreadable = options.out == "-", 0
    quiet = to_stdout and sys.stdout.isatty()
    target = contextlib.nullcontext(sys.stdout.buffer) if to_stdout else atomic_write(Path(options.out).absolute())
    with target as out, ProgressBar("classifying", count_images(files), quiet) as bar:
        out.write(csv_header(finished))
        for locations, logits, errors in predict_files(finished, files, options.batch or EVALUATION_BATCH):
            for error in errors:
                bar.say(f"trigan: warning: skipped: {error}")
            out.write(csv_rows(finished, locations, logits))
            unreadable += len(errors)
            bar.advance(len(locations) + len(errors))
        out.flush()
    if unreadable:
        warn(f"{unreadable} images could not be read and have no row")
    return INCOMPLETE if unreadable else 0


def sample(arguments: list[str]) -> int:
    """Write labelled samples; 3 if some are missing."""
    parser = _parser("sample", "samples")
    add = parser.add_argument
    add("--per-class", type=positive_int, required=True, metavar="N", help="images of each class")
    add("--format", choices=("folder", "parquet"), default="folder")
    add("--seed", type=natural_int, default=0, metavar="S", help="of the latents (default: 0)")
    threshold_help = (
        f"the least probability of the label by the run's classifier (default: {LABEL_THRESHOLD} where the classifier "
        "labels; none for a conditional generator)"
    )
    add("--threshold", type=share, metavar="T", help=threshold_help)
    truncation_help = "draw latents within -T..T: fewer bad samples, less variety (default: no bound)"
    add("--truncation", type=positive_float, metavar="T", help=truncation_help)
    scale_help = "multiply latents by S (default: 1, as in training)"
    add("--latent-scale", type=positive_float, default=1.0, metavar="S", help=scale_help)
    options = parser.parse_intermixed_args(arguments)
    _refuse_early(options)
    from trigan.runs.write_samples import SampleRequest, write_samples
    from trigan.samples.samplers import LatentTransform

    finished, folder = _open_for(options, "samples")
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
    parser = _parser("export", "exports")
    onnx_help = "write ONNX files too (default: yes)"
    parser.add_argument("--onnx", action=argparse.BooleanOptionalAction, default=True, help=onnx_help)
    options = parser.parse_intermixed_args(arguments)
    _refuse_early(options)
    from trigan.interop.export_run import export_run
    from trigan.interop.onnx_file import require_onnx

    if options.onnx:
        require_onnx()
    finished, folder = _open_for(options, "exports")
    for name, difference in export_run(finished, folder, options.onnx, options.force).items():
        off = f"at most {difference:.2g} off torch" if difference is not None else None
        print(f"{name}: {off or 'not checked: onnxruntime is not installed'}")
    print(folder)
    return 0


def _parser(command: str, kind: str = "") -> Parser:
    """A parser with the arguments that name a finished run and, with ``kind``, the folder that is written."""
    parser = Parser(
        prog=f"trigan {command}",
        description=help_text(command),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run's directory, or the first characters of its hash")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs (default: outputs)")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default), cuda, cuda:1")
    allow_help = "a module of your own that the run is built from"
    parser.add_argument("--allow", metavar="MODULE", action="append", default=[], help=allow_help)
    if kind:
        parser.add_argument("--out", type=Path, metavar="DIR", help=f"a new folder (default: OUTPUTS/{kind}/HASH)")
        parser.add_argument("--force", action="store_true", help="replace a folder that an earlier call wrote")
    return parser


def _refuse_early(options: Any) -> None:
    refuse_early("trigan.runs.finished_run:find_run", options.run, options.outputs)


def _open_for(options: Any, kind: str) -> "tuple[FinishedRun, Path]":
    """The run, and the folder that the command is to write; one that is named is checked first."""
    if options.out is not None:
        check_output_folder(options.out, options.force)
    finished = _open(options)
    return finished, options.out or options.outputs / kind / finished.run[:12]


def _open(options: Any) -> "FinishedRun":
    from trigan.runs.finished_run import open_run

    finished = open_run(options.run, options.outputs, options.allow, options.device)
    if finished.diverged:
        warn(f"run {finished.run[:12]} diverged in training; its networks have their last finite weights")
    return finished

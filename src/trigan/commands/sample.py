"""``trigan sample``: labelled images from a finished run's generator, as a folder or a Parquet file."""

import argparse
import math
from pathlib import Path

from trigan.atomic import write_json
from trigan.atomic_folder import MARKER_FILE, atomic_folder, check_output_folder
from trigan.commands.arguments import Parser, positive_int
from trigan.commands.run_argument import add_run_arguments, open_from_arguments
from trigan.errors import ArtifactError, ConfigError
from trigan.execution.progress import ProgressBar, warn
from trigan.runs.finished_run import FinishedRun
from trigan.samples.generate import LatentTransform
from trigan.samples.labelled_samples import Quota, labelled_samples
from trigan.samples.sample_files import FolderWriter, ParquetWriter, Writer

#: Exit code where fewer images were found than asked for.
INCOMPLETE = 3
#: How sure the classifier must be that labels the samples of an unconditional generator.
THRESHOLD = 0.8

_DESCRIPTION = """\
Draw labelled images from a finished run's generator. A conditional generator is told the label; the samples of an
unconditional one are labelled by the run's own classifier, where it is sure. Written is DIR/CLASS/000123.png, or
DIR/samples.parquet with the columns image {bytes, path} and label: both are read back by `data=folder data.root=DIR`,
the Parquet file also by `data=hub data.root=DIR`. The same run, seed and number give the same images; a larger number
begins with those of a smaller one. If a class cannot be filled, what was found is written and the exit code is 3."""
_EPILOG = """\
examples:
  trigan sample 55452682 --per-class 100
  trigan sample outputs/runs/55452682c6eb7981266a --per-class 5000 --format parquet --out synthetic
  trigan run data=folder data.root=synthetic"""


def main(arguments: list[str]) -> int:
    """Write the samples; 3 if some are missing."""
    options = _parser().parse_intermixed_args(arguments)
    if options.out is not None:
        check_output_folder(options.out, options.force)
    finished = open_from_arguments(options)
    threshold = _threshold(finished, options.threshold)
    place = options.out or options.outputs / "samples" / finished.run[:12]
    quota = Quota(options.per_class, finished.spec.classes)
    with atomic_folder(place, options.force) as folder:
        _write(finished, options, folder, quota, threshold)
    missing = _missing(finished, quota)
    if missing:
        wanted = options.per_class * quota.classes
        warn(f"{sum(quota.missing)} of {wanted} images are missing ({missing}): {_mend(quota, threshold)}")
    print(place)
    return INCOMPLETE if missing else 0


def _parser() -> Parser:
    parser = Parser(
        prog="trigan sample",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument("--per-class", type=positive_int, required=True, metavar="N", help="images of each class")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: OUTPUTS/samples/HASH)")
    parser.add_argument("--format", choices=("folder", "parquet"), default="folder")
    parser.add_argument("--seed", type=_natural, default=0, metavar="S", help="of the latents (default: 0)")
    parser.add_argument(
        "--threshold",
        type=_share,
        metavar="T",
        help=f"the probability that the run's classifier must give the label (default: {THRESHOLD} where it labels; "
        "a conditional generator's samples are not asked about unless this is given)",
    )
    parser.add_argument(
        "--truncation",
        type=_above_zero,
        metavar="T",
        help="draw latents within -T..T: fewer bad samples, less variety (default: no bound)",
    )
    parser.add_argument(
        "--latent-scale",
        type=_above_zero,
        default=1.0,
        metavar="S",
        help="latents times S (default: 1, as in training)",
    )
    parser.add_argument("--force", action="store_true", help="replace a folder that an earlier call wrote")
    return parser


def _threshold(finished: FinishedRun, given: float | None) -> float | None:
    conditional = bool(finished.generator.classes)
    threshold = THRESHOLD if given is None and not conditional else given
    if threshold and not finished.probabilistic:
        raise ConfigError(
            f"--threshold {threshold}: scores of run {finished.run[:12]} are no probabilities; add --threshold 0 to "
            "take its classifier's label as it is"
        )
    return threshold


def _write(
    finished: FinishedRun, options: argparse.Namespace, folder: Path, quota: Quota, threshold: float | None
) -> None:
    kinds: dict[str, type[FolderWriter] | type[ParquetWriter]] = {"folder": FolderWriter, "parquet": ParquetWriter}
    writer: Writer = kinds[options.format](folder, finished.classes)
    spread = LatentTransform(options.truncation, options.latent_scale)
    samples = labelled_samples(finished.generator, finished.classifier, options.seed, quota, threshold, spread)
    with writer, ProgressBar("sampling", options.per_class * quota.classes) as bar:
        for images, labels in samples:
            writer.write(images, labels)
            bar.advance(len(labels))
    if not int(quota.taken.sum()):
        raise ArtifactError(f"not one image was written: {_mend(quota, threshold)}")
    write_json(
        folder / MARKER_FILE,
        {
            "what": "samples",
            "run": finished.run,
            "seed": options.seed,
            "truncation": options.truncation,
            "latent_scale": options.latent_scale,
            "threshold": threshold,
            "labels": "condition" if finished.generator.classes else "classifier",
            "per_class": dict(zip(finished.classes, quota.taken.tolist(), strict=True)),
            "n_candidates": quota.n_candidates,
        },
    )


def _missing(finished: FinishedRun, quota: Quota) -> str:
    return ", ".join(f"{name}: {n}" for name, n in zip(finished.classes, quota.missing, strict=True) if n)


def _mend(quota: Quota, threshold: float | None) -> str:
    if not threshold:
        return f"the run's classifier sees no more in {quota.n_candidates} samples; take a run that was trained longer"
    return (
        f"the run's classifier is sure of no more in {quota.n_candidates} samples; "
        f"lower --threshold (now {threshold:g}), or take a run that was trained longer"
    )


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: expected an int >= 0")
    return int(text)


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected a number in 0..1")
    return value

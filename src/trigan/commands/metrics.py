"""``trigan metrics SAMPLES [REFERENCE]``: figures of generated images from anywhere against training images."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from trigan.atomic import MARKER_FILE, atomic_folder, check_output_folder, write_json
from trigan.commands.arguments import Parser, help_text, natural_int, positive_int
from trigan.errors import ConfigError
from trigan.execution.progress import warn
from trigan.scores import FIGURES_OF_COPIES, GENERATOR_METRICS, copies_training_images

if TYPE_CHECKING:
    from trigan.runs.finished_run import FinishedRun
    from trigan.runs.generators.image_sets import RealImages

#: The direction of figures that are no metric of a table; the others' are those of ``GENERATOR_METRICS``.
_BETTER = {"fld": "lower", "classwise_fid": "lower", "reverse_kl": "lower", "authenticity": "near real"}


def main(arguments: list[str]) -> int:
    """Print the figures and write them to metrics.json."""
    options = _parser().parse_intermixed_args(arguments)
    settings = [word for word in options.words if "=" in word and not Path(word).exists()]
    places = [word for word in options.words if word not in settings]
    if not 1 <= len(places) <= 2 or (len(places) == 2 and settings):
        raise ConfigError(
            f"trigan metrics: expected SAMPLES, and one REFERENCE (a path, a run, or settings), got {options.words}; "
            "see `trigan metrics --help`"
        )
    folder = options.out or options.outputs / "metrics" / Path(places[0]).resolve().name
    check_output_folder(folder, options.force)
    from trigan.runs.generators.image_sets import images_at, samples_of
    from trigan.runs.generators.measure import MetricsRequest, label_picker, measure

    finished = _run_at(places[0], options)
    reals = _reals(finished, places[1:], settings, options)
    request = MetricsRequest(
        options.images, options.embedding, options.weights, options.size, options.train, options.allow
    )
    if finished is not None:
        known = reals.training.labels[reals.training.labels >= 0]
        samples = samples_of(finished, options.images, options.seed, known)
        pick = _sampler(finished, options.seed)
    else:
        samples, _ = images_at(Path(places[0]), reals.spec, reals.classes)
        pick = label_picker(samples)
    with atomic_folder(folder, options.force) as new:
        found = measure(request, reals, samples, pick, new / "neighbours.png")
        found = {"what": "metrics", "samples": str(places[0]), **found, "copying": copies_training_images(found)}
        write_json(new / "metrics.json", found)
        write_json(new / MARKER_FILE, {"what": "metrics", "samples": found["samples"]})
    _show(found)
    if found["copying"]:
        warn(
            "more of these images are copies of training images, or nearer to them, than further real images are: the "
            "generator copies, and figures that copies improve are not shown"
        )
    print(folder / "metrics.json")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="trigan metrics",
        description=help_text("metrics"),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("words", nargs="+", metavar="SAMPLES [REFERENCE]", help="images to score, and training images")
    add("--images", type=positive_int, default=10_000, metavar="N", help="most images of each kind (default: 10000)")
    add("--embedding", default="random_conv", help="random_conv (default), classifier, or MODULE.FUNCTION")
    add("--weights", type=Path, metavar="FILE", help="a TorchScript network as embedding (Inception, DINOv2)")
    add("--size", type=natural_int, default=0, metavar="S", help="resize images to S pixels for --weights")
    add("--held-out", type=Path, metavar="PATH", help="real images that no generator was trained on, for FLD")
    add("--train", action="store_true", help="train classifiers: gan_train (CAS), gan_test, NAS")
    add("--seed", type=natural_int, default=0, metavar="S", help="of a run's samples (default: 0)")
    add("--outputs", type=Path, default=Path("outputs"), help="the folder of runs (default: outputs)")
    add("--out", type=Path, metavar="DIR", help="a new folder (default: OUTPUTS/metrics/NAME)")
    add("--force", action="store_true", help="replace a folder that an earlier call wrote")
    add("--device", default="cpu", help="where a run's generator computes: cpu (default), cuda, cuda:1")
    add("--allow", metavar="MODULE", action="append", default=[], help="a module of your own")
    add("--config-dir", type=Path, help="a folder with groups of your own")
    return parser


def _run_at(name: str, options: Any) -> "FinishedRun | None":
    """The finished run of this name; None if it is a path of images."""
    path = Path(name)
    if path.exists() and not (path / "record.json").is_file() and path.name != "record.json":
        return None
    if "/" in name and not path.exists():
        raise ConfigError(f"{name}: no such file or folder; name images, a run's directory or the start of its hash")
    from trigan.runs.finished_run import open_run

    return open_run(name, options.outputs, options.allow, options.device)


def _reals(finished: "FinishedRun | None", places: list[str], settings: list[str], options: Any) -> "RealImages":
    """The training images: those that are named, or else the run's own."""
    from dataclasses import replace

    from trigan.config.compose import compose
    from trigan.runs.generators.image_sets import config_of_run, images_at, real_images, reals_at

    named = _run_at(places[0], options) if places else finished
    if settings:
        reals = real_images(compose(settings, options.config_dir))
    elif named is not None:
        used: Any = named.record["result"]["data_used"]
        reals = real_images(config_of_run(named, options.allow), used if named is finished else None)
    elif places:
        reals = reals_at(Path(places[0]))
    else:
        raise ConfigError(
            "REFERENCE: images of a path have no training images of their own; name a folder, a run, or settings like "
            "data=mnist data.root=PATH"
        )
    if options.held_out is not None:
        reals = replace(reals, held_out=images_at(options.held_out, reals.spec)[0].images)
    return reals


def _sampler(finished: "FinishedRun", seed: int) -> Any:
    from trigan.datasets.types import LabelledImages

    return lambda labels: LabelledImages(finished.sample(labels, seed), labels)


def _show(found: Mapping[str, Any]) -> None:
    """The figures beside those of real images; ``copies`` in the place of those that copies improve."""
    stamp = f"{found['embedding']}, {found['images']} images of each kind, data {found['fingerprint'][:8]}"
    print(f"{found['samples']} ({stamp})")
    table, copies = Table(), found["copying"]
    for name in ("figure", "samples", "real images", "better"):
        table.add_column(name, justify="left" if name in ("figure", "better") else "right")
    signs = {one.figure: "higher" if one.sign > 0 else "lower" for one in GENERATOR_METRICS.values()}
    for name, value in found["figures"].items():
        better = _BETTER.get(name) or signs.get(name, "higher")
        shown = "copies" if copies and name not in (*FIGURES_OF_COPIES, "real_accuracy") else _text(value)
        table.add_row(name, shown, _text(found["floor"].get(name, "")), better)
    Console().print(table)
    if found.get("by_class") and not copies:
        print("FID by class: " + ", ".join(f"{name} {value:.4g}" for name, value in found["by_class"].items()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(None) if value is None else f"{value:.4g}"

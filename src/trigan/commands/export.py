"""``trigan export``: a finished run's networks as safetensors and ONNX, with all that is needed to use them."""

import argparse
import shutil
import textwrap
from pathlib import Path
from typing import Any

from trigan.atomic import MARKER_FILE, atomic_folder, check_output_folder, write_json, write_text
from trigan.commands.arguments import Parser
from trigan.commands.run_argument import add_run_arguments, open_from_arguments
from trigan.interop.onnx_file import OnnxSignature, classifier_signature, generator_signature, require_onnx, write_onnx
from trigan.runs.finished_run import FinishedRun

_DESCRIPTION = """\
Write a finished run's networks for use elsewhere: classifier.safetensors and classifier.onnx (images -> logits), the
same of the generator where there is one (z, and y if it is conditional, -> images), trigan.json (class names, sizes,
normalisation) and README.txt. ONNX files take any number of rows; each is checked against torch with onnxruntime, if
that is installed, and the largest difference is printed."""
_EPILOG = """\
examples:
  trigan export 55452682
  trigan export outputs/runs/55452682c6eb7981266a --out model --no-onnx"""


def main(arguments: list[str]) -> int:
    """Write the files."""
    options = _parser().parse_intermixed_args(arguments)
    if options.out is not None:
        check_output_folder(options.out, options.force)
    if options.onnx:
        require_onnx()
    finished = open_from_arguments(options)
    place = options.out or options.outputs / "exports" / finished.run[:12]
    with atomic_folder(place, options.force) as folder:
        for player in finished.networks:
            shutil.copyfile(finished.directory / "weights" / f"{player}.safetensors", folder / f"{player}.safetensors")
        checked = _write_onnx(finished, folder) if options.onnx else {}
        write_json(folder / MARKER_FILE, export_description(finished, checked))
        write_text(folder / "README.txt", readme(finished, options.onnx))
    for name, difference in checked.items():
        known = (
            "not checked: onnxruntime is not installed" if difference is None else f"at most {difference:.2g} off torch"
        )
        print(f"{name}: {known}")
    print(place)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="trigan export",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: OUTPUTS/exports/HASH)")
    parser.add_argument(
        "--onnx", action=argparse.BooleanOptionalAction, default=True, help="write ONNX files too (default: yes)"
    )
    parser.add_argument("--force", action="store_true", help="replace a folder that an earlier call wrote")
    return parser


def onnx_signatures(finished: FinishedRun) -> dict[str, OnnxSignature]:
    """By player, the names and shapes of inputs and output."""
    spec = finished.spec
    found = {"classifier": classifier_signature(spec.channels, spec.size)}
    if "generator" in finished.networks:
        generator: Any = finished.generator
        found["generator"] = generator_signature(int(generator.latent), int(generator.classes))
    return found


def _write_onnx(finished: FinishedRun, folder: Path) -> dict[str, float | None]:
    return {
        f"{player}.onnx": write_onnx(finished.networks[player], port, folder / f"{player}.onnx")
        for player, port in onnx_signatures(finished).items()
    }


def export_description(finished: FinishedRun, checked: dict[str, float | None]) -> dict[str, Any]:
    """What a program must know to use the files: the content of ``trigan.json``."""
    spec, result = finished.spec, finished.record["result"]
    return {
        "what": "export",
        "run": finished.run,
        "strategy": finished.record["tags"]["strategy"],
        "classes": list(finished.classes),
        "image": {
            "channels": spec.channels,
            "size": spec.size,
            "layout": "NCHW",
            "normalisation": "u8 / 127.5 - 1",
            "fitting": "centre square, bilinear resize (antialiased), then 1 or 3 channels",
        },
        "networks": {
            player: {"inputs": list(port.inputs), "output": port.output, "weights": result["weights"][player]}
            for player, port in onnx_signatures(finished).items()
        },
        "latent": int(getattr(finished.networks.get("generator"), "latent", 0)) or None,
        "probabilities": "softmax of the logits" if finished.probabilistic else None,
        "test_accuracy": result["test"]["accuracy"],
        "largest_difference_to_torch": checked,
        "config": finished.record["config"]["strategy"],
    }


def readme(finished: FinishedRun, onnx: bool) -> str:
    """The content of ``README.txt``."""
    spec = finished.spec
    shape = f"(N, {spec.channels}, {spec.size}, {spec.size})"
    scores = "their softmax are probabilities" if finished.probabilistic else "only their order means anything"
    parts = [
        f"Networks of run {finished.run} ({finished.record['tags']['strategy']}), written by trigan.",
        f"classifier: images float32 {shape} in [-1, 1] -> logits (N, {spec.classes}); {scores}. Classes in the order "
        "of the logits: " + ", ".join(finished.classes) + ".",
        "An image is cut to its centre square, resized (bilinear, antialiased), made "
        f"{'grey' if spec.channels == 1 else 'RGB'}, and its bytes u become u / 127.5 - 1.",
    ]
    if "generator" in finished.networks:
        generator: Any = finished.generator
        labels = f" and y int64 (N,), labels 0..{spec.classes - 1}," if generator.classes else ""
        parts.append(
            f"generator: z float32 (N, {int(generator.latent)}) from N(0, 1){labels} -> images {shape} in [-1, 1]; "
            "round((x + 1) * 127.5) gives bytes."
        )
    parts.append(
        "The .safetensors files are the weights as they were trained; trigan.json has the settings of the networks "
        "that they belong to, and all of the above for programs."
    )
    text = "\n\n".join(textwrap.fill(part, 100) for part in parts) + "\n"
    return text + (_ONNX_EXAMPLE if onnx else "")


_ONNX_EXAMPLE = """
With ONNX (pip install onnxruntime):

    import numpy as np, onnxruntime
    session = onnxruntime.InferenceSession("classifier.onnx")
    x = images_uint8.astype(np.float32) / 127.5 - 1      # (N, C, S, S)
    (logits,) = session.run(["logits"], {"images": x})
"""

"""A finished run's networks as safetensors and ONNX files, with everything another program needs to use them."""

import shutil
from pathlib import Path
from typing import Any

from trigan.atomic import MARKER_FILE, atomic_folder, write_json, write_text
from trigan.interop.onnx_file import OnnxSignature, classifier_signature, generator_signature, write_onnx
from trigan.runs.finished_run import FinishedRun
from trigan.tables.layout.templating import environment


def export_run(finished: FinishedRun, folder: Path, onnx: bool = True, force: bool = False) -> dict[str, float | None]:
    """Write weights, ONNX files, ``trigan.json`` and ``README.txt``; the folder is complete or does not appear.

    ``onnx`` needs a package (`trigan.interop.onnx_file.require_onnx`); ``force`` replaces a folder that trigan wrote.

    Returns:
        For each ONNX file the largest difference of its outputs to torch's, or None if onnxruntime is not installed.

    Raises:
        ConfigError: the folder exists.
        ArtifactError: a network has no ONNX form, its ONNX file gives other numbers, or the file cannot be written.
    """
    signatures = {"classifier": classifier_signature(finished.spec.channels, finished.spec.size)}
    if "generator" in finished.networks:
        generator = finished.generator
        signatures["generator"] = generator_signature(int(generator.latent), int(generator.classes))
    differences = {}
    with atomic_folder(folder, force) as new:
        for player, signature in signatures.items():
            weights = f"{player}.safetensors"
            shutil.copyfile(finished.directory / "weights" / weights, new / weights)
            if onnx:
                file = f"{player}.onnx"
                differences[file] = write_onnx(finished.networks[player], signature, new / file)
        write_json(new / MARKER_FILE, _description(finished, signatures, differences))
        readme = environment(Path(__file__).parent / "templates").get_template("README.txt.j2")
        write_text(new / "README.txt", readme.render(finished=finished, spec=finished.spec, onnx=onnx))
    return differences


def _description(
    finished: FinishedRun, signatures: dict[str, OnnxSignature], differences: dict[str, float | None]
) -> dict[str, Any]:
    """The content of ``trigan.json``."""
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
            player: {"inputs": list(sig.inputs), "output": sig.output, "weights": result["weights"][player]}
            for player, sig in signatures.items()
        },
        "latent": int(getattr(finished.networks.get("generator"), "latent", 0)) or None,
        "probabilities": "softmax of the logits" if finished.probabilistic else None,
        "test_accuracy": result["test"]["accuracy"],
        "largest_difference_to_torch": differences,
        "config": finished.record["config"]["strategy"],
    }

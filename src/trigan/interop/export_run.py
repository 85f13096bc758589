"""A finished run's networks as safetensors and ONNX files, with everything another program needs to use them."""

import shutil
import textwrap
from pathlib import Path
from typing import Any

from trigan.atomic import MARKER_FILE, atomic_folder, write_json, write_text
from trigan.interop.onnx_file import OnnxSignature, classifier_signature, generator_signature, write_onnx
from trigan.runs.finished_run import FinishedRun

_ONNX_EXAMPLE = """
With ONNX (pip install onnxruntime):

    import numpy as np, onnxruntime
    session = onnxruntime.InferenceSession("classifier.onnx")
    x = images_uint8.astype(np.float32) / 127.5 - 1      # (N, C, S, S)
    (logits,) = session.run(["logits"], {"images": x})
"""


def export_run(finished: FinishedRun, folder: Path, onnx: bool = True, force: bool = False) -> dict[str, float | None]:
    """Write weights, ONNX files, ``trigan.json`` and ``README.txt``; the folder is complete or does not appear.

    Args:
        finished: the run.
        folder: a new one.
        onnx: write ONNX files; see `trigan.interop.onnx_file.require_onnx`.
        force: replace a folder that trigan wrote.

    Returns:
        For each ONNX file the largest difference of its outputs to torch's, or None if onnxruntime is not installed.

    Raises:
        ConfigError: the folder exists.
        ArtifactError: a network has no ONNX form, its ONNX file gives other numbers, or the disk refuses.
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
        write_text(new / "README.txt", _readme(finished) + (_ONNX_EXAMPLE if onnx else ""))
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


def _readme(finished: FinishedRun) -> str:
    spec = finished.spec
    shape = f"(N, {spec.channels}, {spec.size}, {spec.size})"
    scores = "their softmax gives probabilities" if finished.probabilistic else "only their order has a meaning"
    parts = [
        f"Networks of run {finished.run} ({finished.record['tags']['strategy']}), written by trigan.",
        f"classifier: images float32 {shape} in [-1, 1] -> logits (N, {spec.classes}); {scores}. Classes in the order "
        f"of the logits: {', '.join(finished.classes)}.",
        "Crop an image to its centre square, resize it (bilinear, antialiased), convert it to "
        f"{'grey' if spec.channels == 1 else 'RGB'}; its bytes u become u / 127.5 - 1.",
    ]
    if "generator" in finished.networks:
        generator = finished.generator
        labels = f" and y int64 (N,), labels 0..{spec.classes - 1}," if generator.classes else ""
        parts.append(
            f"generator: z float32 (N, {int(generator.latent)}) from N(0, 1){labels} -> images {shape} in [-1, 1]; "
            "round((x + 1) * 127.5) gives bytes."
        )
    parts.append(
        "The .safetensors files are the trained weights; trigan.json has the settings of their networks, and all of "
        "the above for programs."
    )
    return "\n\n".join(textwrap.fill(part, 100) for part in parts) + "\n"

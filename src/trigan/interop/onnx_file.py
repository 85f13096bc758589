"""Networks as ONNX files, checked against torch with onnxruntime."""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trigan.errors import ArtifactError, ConfigError
from trigan.interop.onnx_graph import onnx_exportable
from trigan.strategies.heads import NearestNeighboursHead

#: Differences to torch that count as rounding: relative to the median output, and absolute.
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-3, 1e-5
#: Rows with which a network is traced, and checked.
_TRACED, _CHECKED = 2, 37


@dataclass(frozen=True)
class OnnxSignature:
    """Names of a network's inputs and output, and an example of each input with ``_CHECKED`` rows."""

    inputs: tuple[str, ...]
    output: str
    examples: tuple[Tensor, ...]

    def rows(self, count: int) -> tuple[Tensor, ...]:
        """The first rows of the examples."""
        return tuple(example[:count] for example in self.examples)


def classifier_signature(channels: int, size: int) -> OnnxSignature:
    """``images`` float32 (N, C, S, S) -> ``logits``."""
    noise = torch.rand(_CHECKED, channels, size, size, generator=torch.Generator().manual_seed(0))
    return OnnxSignature(("images",), "logits", (noise * 2.0 - 1.0,))


def generator_signature(latent: int, classes: int) -> OnnxSignature:
    """``z`` float32 (N, latent), and ``y`` int64 (N,) where there are ``classes``, -> ``images``."""
    z = torch.randn(_CHECKED, latent, generator=torch.Generator().manual_seed(0))
    if not classes:
        return OnnxSignature(("z",), "images", (z,))
    return OnnxSignature(("z", "y"), "images", (z, torch.arange(_CHECKED) % classes))


def require_onnx() -> None:
    """Raise a ConfigError where the package that writes ONNX files is not installed."""
    if importlib.util.find_spec("onnx") is None:
        raise ConfigError("ONNX files need the package onnx: pip install 'trigan[onnx]', or add --no-onnx")


def write_onnx(network: nn.Module, signature: OnnxSignature, path: Path) -> float | None:
    """Write ``network`` with a free number of rows; the largest difference to torch, None without onnxruntime.

    Raises:
        ArtifactError: ONNX cannot express it, or the outputs differ from torch's.
    """
    exportable = onnx_exportable(network)
    names = (*signature.inputs, signature.output)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # the exporter of traced graphs needs no further package and takes a tenth of the other's time
            torch.onnx.export(
                exportable,
                signature.rows(_TRACED),
                str(path),
                input_names=list(signature.inputs),
                output_names=[signature.output],
                dynamic_axes={name: {0: "n"} for name in names},
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ArtifactError(
            f"{path.name}: this network has no form in ONNX ({_first(error)}); add --no-onnx"
        ) from error
    return _difference(network, signature, path)


def _difference(network: nn.Module, signature: OnnxSignature, path: Path) -> float | None:
    """The largest difference of onnxruntime's outputs to torch's, at another number of rows than it was traced with."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    rows = signature.rows(_CHECKED)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(
        [signature.output], {name: row.numpy() for name, row in zip(signature.inputs, rows, strict=True)}
    )
    with torch.no_grad():
        expected = _run(network, rows)
    differences = (torch.from_numpy(outputs).double() - expected).abs().flatten(1).amax(1)
    difference = float(differences.max())
    wrong = ~(differences <= RELATIVE_TOLERANCE * float(expected.abs().median()) + ABSOLUTE_TOLERANCE)
    if float(wrong.float().mean()) > _allowed(network):
        raise ArtifactError(
            f"{path.name}: onnxruntime's outputs differ from torch's by {difference:.3g}; nothing was written (add "
            "--no-onnx for the weights alone)"
        )
    return difference


def _allowed(network: nn.Module) -> float:
    """The share of rows that may differ: a vote among equally near neighbours depends on the last bit."""
    return 0.1 if any(isinstance(module, NearestNeighboursHead) for module in network.modules()) else 0.0


def _run(network: nn.Module, rows: Sequence[Tensor]) -> Tensor:
    parameter = next((p for p in (*network.parameters(), *network.buffers()) if p.is_floating_point()), rows[0])
    inputs = [row.to(parameter.device, parameter.dtype if row.is_floating_point() else row.dtype) for row in rows]
    outputs: Tensor = network(*inputs)
    return outputs.double().cpu()


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__

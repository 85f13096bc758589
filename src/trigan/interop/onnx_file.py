"""Writing a network as an ONNX file, and asking onnxruntime whether it gives the same numbers."""

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

#: Differences to torch that are taken for rounding: as a share of the median output, and whatever the outputs are.
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-3, 1e-5
#: Rows with which a network is traced, and with which it is checked.
_TRACED, _CHECKED = 2, 37


@dataclass(frozen=True)
class OnnxSignature:
    """Names of a network's inputs and output, and an example of each input with any number of rows."""

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
    """Refuse to go on without the package that writes ONNX files.

    Raises:
        ConfigError: it isn't installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ConfigError("ONNX files need the package onnx: pip install 'trigan[onnx]', or add --no-onnx")


def write_onnx(network: nn.Module, port: OnnxSignature, path: Path) -> float | None:
    """Write ``network`` with a free number of rows; the largest difference to torch, None without onnxruntime.

    Raises:
        ArtifactError: it has no form in ONNX, or the file's numbers are not torch's.
    """
    plain = onnx_exportable(network)
    names = (*port.inputs, port.output)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The exporter of traced graphs: it needs no further package and takes a tenth of the other's time.
            torch.onnx.export(
                plain,
                port.rows(_TRACED),
                str(path),
                input_names=list(port.inputs),
                output_names=[port.output],
                dynamic_axes={name: {0: "n"} for name in names},
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ArtifactError(
            f"{path.name}: this network has no form in ONNX ({_first(error)}); add --no-onnx"
        ) from error
    return _difference(network, port, path)


def _difference(network: nn.Module, port: OnnxSignature, path: Path) -> float | None:
    """Onnxruntime's outputs against those of the network itself, at another number of rows than it was traced with."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    rows = port.rows(_CHECKED)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run([port.output], {name: row.numpy() for name, row in zip(port.inputs, rows, strict=True)})
    with torch.no_grad():
        expected = _run(network, rows)
    off = (torch.from_numpy(found).double() - expected).abs().flatten(1).amax(1)
    difference = float(off.max())
    wrong = ~(off <= RELATIVE_TOLERANCE * float(expected.abs().median()) + ABSOLUTE_TOLERANCE)
    if float(wrong.float().mean()) > _allowed(network):
        raise ArtifactError(
            f"{path.name}: onnxruntime's outputs differ from torch's by {difference:.3g}; nothing was written (add "
            "--no-onnx for the weights alone)"
        )
    return difference


def _allowed(network: nn.Module) -> float:
    """The share of rows that may differ: a vote among neighbours that are equally near turns on the last bit."""
    return 0.1 if any(isinstance(module, NearestNeighboursHead) for module in network.modules()) else 0.0


def _run(network: nn.Module, rows: Sequence[Tensor]) -> Tensor:
    parameter = next((p for p in (*network.parameters(), *network.buffers()) if p.is_floating_point()), rows[0])
    moved = [row.to(parameter.device, parameter.dtype if row.is_floating_point() else row.dtype) for row in rows]
    outputs: Tensor = network(*moved)
    return outputs.double().cpu()


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__

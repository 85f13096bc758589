"""Networks as ONNX files, checked against torch with onnxruntime.

What depends on data or on tensor values becomes fixed arithmetic, which ONNX can express.
"""

import copy
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from trigan.errors import ArtifactError, ConfigError
from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.networks.weight_norm import fold_spectral_norm
from trigan.strategies.backbones import FeatureExtractor
from trigan.strategies.probes import NearestNeighboursHead

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # the exporter of traced graphs needs no further package and takes a tenth of the other's time
            torch.onnx.export(
                exportable,
                tuple(example[:_TRACED] for example in signature.examples),
                str(path),
                input_names=list(signature.inputs),
                output_names=[signature.output],
                dynamic_axes={name: {0: "n"} for name in (*signature.inputs, signature.output)},
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
        raise ArtifactError(f"{path.name}: this network has no form in ONNX ({reason}); add --no-onnx") from error
    return _difference(network, signature, path)


def _difference(network: nn.Module, signature: OnnxSignature, path: Path) -> float | None:
    """The largest difference of onnxruntime's outputs to torch's, at another number of rows than it was traced with."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    named = zip(signature.inputs, signature.examples, strict=True)
    (outputs,) = session.run([signature.output], {name: example.numpy() for name, example in named})
    tensors = (*network.parameters(), *network.buffers(), *signature.examples)
    like = next(tensor for tensor in tensors if tensor.is_floating_point())
    with torch.no_grad():
        rows = [row.to(like) if row.is_floating_point() else row.to(like.device) for row in signature.examples]
        expected = network(*rows).double().cpu()
    differences = (torch.from_numpy(outputs).double() - expected).abs().flatten(1).amax(1)
    difference = float(differences.max())
    wrong = ~(differences <= RELATIVE_TOLERANCE * float(expected.abs().median()) + ABSOLUTE_TOLERANCE)
    # a vote among equally near neighbours depends on the last bit
    allowed = 0.1 if any(isinstance(module, NearestNeighboursHead) for module in network.modules()) else 0.0
    if float(wrong.float().mean()) > allowed:
        raise ArtifactError(
            f"{path.name}: onnxruntime's outputs differ from torch's by {difference:.3g}; nothing was written (add "
            "--no-onnx for the weights alone)"
        )
    return difference


def onnx_exportable(network: nn.Module) -> nn.Module:
    """A float32 copy on the CPU, in evaluation mode, that gives the same outputs and can be traced.

    Spectral norms are folded into the weights; the modules below keep their weights and get another forward pass.
    """
    plain = fold_spectral_norm(copy.deepcopy(network).cpu().float()).requires_grad_(False)
    for module in plain.modules():
        for original, form in _FORMS.items():
            if isinstance(module, original):
                module.__class__ = form
    return plain


class _PoolingBySlices(FeatureExtractor):
    """Adaptive max-pooling, which ONNX lacks, is written out as maxima over slices."""

    def forward(self, images: Tensor) -> Tensor:
        if self.discriminator is None:
            return images.flatten(1)
        maps = self.discriminator.features(images)
        chosen = [maps[layer] for layer in self.layers or maps]
        return torch.cat([max_pool_by_slices(feature, self.grid).flatten(1) for feature in chosen], dim=1)


def max_pool_by_slices(feature: Tensor, grid: int) -> Tensor:
    """``adaptive_max_pool2d`` where the map (N, C, S, S) is larger than ``grid``, else the map unchanged."""
    size = int(feature.shape[-1])
    if size <= grid:
        return feature
    bins = [(k * size // grid, -(-(k + 1) * size // grid)) for k in range(grid)]
    rows = torch.cat([feature[:, :, low:high].amax(2, keepdim=True) for low, high in bins], dim=2)
    return torch.cat([rows[..., low:high].amax(3, keepdim=True) for low, high in bins], dim=3)


class _NeighboursByProducts(NearestNeighboursHead):
    """Distances are products of matrices, and the number of neighbours is a constant of the graph."""

    def forward(self, features: Tensor) -> Tensor:
        k, temperature = int(self.k), float(self.temperature)
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2, of which the first term is the same for every neighbour
        distances = self.kept.square().sum(1) - 2.0 * features @ self.kept.T
        nearest = distances.topk(k, dim=1, largest=False).indices
        shares = (self.votes[nearest].sum(1) + 0.5 / self.votes.shape[1]) / (k + 0.5)
        return shares.log() / temperature


class _GeneratorPerClass(PerClassGenerators):
    """The row's label selects the generator."""

    def forward(self, z: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return _select([network(z) for network in self.generators], y)


class _GeneratorMixture(GeneratorMixture):
    """The last entry of the row's z selects the generator."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        conditions = () if y is None else (y,)
        return _select([network(z[:, :-1], *conditions) for network in self.members], self.member_index(z))


def _select(outputs: Sequence[Tensor], chosen: Tensor) -> Tensor:
    """Row by row, the images of the chosen generator (N,): each computes every row, as tracing cannot branch by row."""
    images = outputs[0]
    for index, output in enumerate(outputs[1:], 1):
        images = torch.where((chosen == index)[:, None, None, None], output, images)
    return images


_FORMS: dict[type[nn.Module], type[nn.Module]] = {
    FeatureExtractor: _PoolingBySlices,
    NearestNeighboursHead: _NeighboursByProducts,
    PerClassGenerators: _GeneratorPerClass,
    GeneratorMixture: _GeneratorMixture,
}

"""Networks as ONNX files, checked against torch with onnxruntime.

What depends on data or on tensor values becomes fixed arithmetic, which ONNX can express.
"""

import copy
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.errors import ArtifactError, ConfigError
from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.networks.weight_norm import fold_spectral_norm
from trigan.strategies.feature_extraction import FeatureExtractor
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

    Spectral norms are folded into the weights, and the modules below replace their originals.
    """
    plain = fold_spectral_norm(copy.deepcopy(network).cpu().float()).requires_grad_(False)
    return _replaced(plain)


def _replaced(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    fixed = (make(module) for kind, make in _FIXED.items() if isinstance(module, kind))
    return next(fixed, module)


class _FixedPooling(nn.Module):
    """A feature extractor whose adaptive max-pooling, which ONNX lacks, is written out as maxima over slices."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.discriminator, self.layers, self.grid = extractor.discriminator, extractor.layers, extractor.grid

    def forward(self, images: Tensor) -> Tensor:
        if self.discriminator is None:
            return images.flatten(1)
        maps: dict[str, Tensor] = self.discriminator.features(images)
        chosen = [maps[layer] for layer in self.layers] if self.layers else list(maps.values())
        return torch.cat([max_pool_by_slices(feature, self.grid).flatten(1) for feature in chosen], dim=1)


def max_pool_by_slices(feature: Tensor, grid: int) -> Tensor:
    """``adaptive_max_pool2d`` where the map (N, C, S, S) is larger than ``grid``, else the map unchanged."""
    size = int(feature.shape[-1])
    if size <= grid:
        return feature
    bins = [(k * size // grid, -(-(k + 1) * size // grid)) for k in range(grid)]
    rows = torch.cat([feature[:, :, low:high].amax(2, keepdim=True) for low, high in bins], dim=2)
    return torch.cat([rows[..., low:high].amax(3, keepdim=True) for low, high in bins], dim=3)


class _FixedNearestNeighbours(nn.Module):
    """A nearest-neighbour head whose number of neighbours is a constant of the graph."""

    def __init__(self, head: NearestNeighboursHead) -> None:
        super().__init__()
        self.head, self.k, self.temperature = head, int(head.k), float(head.temperature)

    def forward(self, features: Tensor) -> Tensor:
        kept, votes = self.head.kept, self.head.votes
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2, of which the first term is the same for every neighbour
        distances = kept.square().sum(1) - 2.0 * features @ kept.T
        nearest = distances.topk(self.k, dim=1, largest=False).indices
        shares = (votes[nearest].sum(1) + 0.5 / votes.shape[1]) / (self.k + 0.5)
        return shares.log() / self.temperature


class _GeneratorPerClass(nn.Module):
    """One generator a class: each computes every row, and the row's label selects (tracing cannot branch by row)."""

    def __init__(self, per_class: PerClassGenerators) -> None:
        super().__init__()
        self.generators: Sequence[nn.Module] = per_class.generators  # type: ignore[assignment]
        self.latent, self.classes = per_class.latent, per_class.classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        first, *others = self.generators
        images: Tensor = first(z)
        for label, network in enumerate(others, 1):
            images = torch.where((y == label)[:, None, None, None], network(z), images)
        return images


class _GeneratorMixture(nn.Module):
    """A mixture of generators: each computes every row, and the last entry of the row's z selects."""

    def __init__(self, mixture: GeneratorMixture) -> None:
        super().__init__()
        self.mixture, self.latent, self.classes = mixture, mixture.latent, mixture.classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        member, noise = self.mixture.member_index(z)[:, None, None, None], z[:, :-1]
        images: Tensor | None = None
        for index, network in enumerate(self.mixture.members):
            output: Tensor = network(noise) if y is None else network(noise, y)
            images = output if images is None else torch.where(member == index, output, images)
        if images is None:
            raise ValueError("a mixture of no generators")
        return images


_FIXED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    FeatureExtractor: _FixedPooling,
    NearestNeighboursHead: _FixedNearestNeighbours,
    PerClassGenerators: _GeneratorPerClass,
    GeneratorMixture: _GeneratorMixture,
}

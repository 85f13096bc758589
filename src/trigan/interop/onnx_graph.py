"""Networks in a form that ONNX can express: what depends on data or on tensor values becomes fixed arithmetic."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.networks.weight_norm import fold_spectral_norm
from trigan.strategies.feature_extraction import FeatureExtractor
from trigan.strategies.heads import NearestNeighboursHead


def onnx_exportable(network: nn.Module) -> nn.Module:
    """A float32 copy on the CPU, in evaluation mode, that gives the same outputs and can be traced.

    Spectral norms are folded into the weights, and the modules below replace their originals.
    """
    plain = fold_spectral_norm(copy.deepcopy(network).cpu().float()).requires_grad_(False)
    return _replaced(plain)


def _replaced(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    if isinstance(module, FeatureExtractor):
        return _FixedPooling(module)
    if isinstance(module, NearestNeighboursHead):
        return _FixedNearestNeighbours(module)
    if isinstance(module, PerClassGenerators):
        return _GeneratorPerClass(module)
    if isinstance(module, GeneratorMixture):
        return _GeneratorMixture(module)
    return module


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

    kept: Tensor
    votes: Tensor

    def __init__(self, head: NearestNeighboursHead) -> None:
        super().__init__()
        self.k, self.temperature = int(head.k), float(head.temperature)
        self.register_buffer("kept", head.kept)
        self.register_buffer("votes", head.votes)

    def forward(self, features: Tensor) -> Tensor:
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2, of which the first term is the same for every neighbour
        distances = self.kept.square().sum(1) - 2.0 * features @ self.kept.T
        nearest = distances.topk(self.k, dim=1, largest=False).indices
        classes = self.votes.shape[1]
        shares = (self.votes[nearest].sum(1) + 0.5 / classes) / (self.k + 0.5)
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

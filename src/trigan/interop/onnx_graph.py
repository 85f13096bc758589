"""Networks in the form that ONNX can take: what depends on data or on tensor values becomes fixed arithmetic."""

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

    Spectral norms are folded into the weights, and the parts below take the places of those that they stand for.
    """
    plain = fold_spectral_norm(copy.deepcopy(network).cpu().float()).requires_grad_(False)
    return _replaced(plain)


def _replaced(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    if isinstance(module, FeatureExtractor):
        return _FixedPooling(module)
    if isinstance(module, NearestNeighboursHead):
        return _FixedNeighbours(module)
    if isinstance(module, PerClassGenerators):
        return _AllClasses(module)
    if isinstance(module, GeneratorMixture):
        return _AllMembers(module)
    return module


class _FixedPooling(nn.Module):
    """A feature extractor whose adaptive max-pooling, which ONNX has not, is written out as maxima over slices."""

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
    """As ``adaptive_max_pool2d`` where the map (N, C, S, S) is larger than ``grid``, else the map as it is."""
    size = int(feature.shape[-1])
    if size <= grid:
        return feature
    bins = [(k * size // grid, -(-(k + 1) * size // grid)) for k in range(grid)]
    rows = torch.cat([feature[:, :, low:high].amax(2, keepdim=True) for low, high in bins], dim=2)
    return torch.cat([rows[..., low:high].amax(3, keepdim=True) for low, high in bins], dim=3)


class _FixedNeighbours(nn.Module):
    """Nearest neighbours whose number is a constant of the graph."""

    kept: Tensor
    votes: Tensor

    def __init__(self, head: NearestNeighboursHead) -> None:
        super().__init__()
        self.k, self.temperature = int(head.k), float(head.temperature)
        self.register_buffer("kept", head.kept)
        self.register_buffer("votes", head.votes)

    def forward(self, features: Tensor) -> Tensor:
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2, of which the first term is the same for every neighbour
        far = self.kept.square().sum(1) - 2.0 * features @ self.kept.T
        nearest = far.topk(self.k, dim=1, largest=False).indices
        classes = self.votes.shape[1]
        shares = (self.votes[nearest].sum(1) + 0.5 / classes) / (self.k + 0.5)
        return shares.log() / self.temperature


class _AllClasses(nn.Module):
    """One generator a class: each draws every row, and the row's label chooses (ONNX has no rows by condition here)."""

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


class _AllMembers(nn.Module):
    """A mixture of generators: each paints every row, and the row's last number chooses."""

    def __init__(self, mixture: GeneratorMixture) -> None:
        super().__init__()
        self.mixture, self.latent, self.classes = mixture, mixture.latent, mixture.classes

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        chosen, painted = self.mixture.member_index(z)[:, None, None, None], z[:, :-1]
        images: Tensor | None = None
        for index, network in enumerate(self.mixture.members):
            drawn: Tensor = network(painted) if y is None else network(painted, y)
            images = drawn if images is None else torch.where(chosen == index, drawn, images)
        if images is None:
            raise ValueError("a mixture of no generators")
        return images

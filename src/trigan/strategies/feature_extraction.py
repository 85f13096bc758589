"""Features of an image: layers of a backbone, max-pooled to a small grid, flattened and standardised."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.networks.gans.gan import Discriminator


class FeatureExtractor(nn.Module):
    """Images (N, C, S, S) -> (N, F): the map of each layer, max-pooled to ``grid`` x ``grid`` where it is larger.

    Without a discriminator the features are the pixels. Empty ``layers``: all layers.
    Radford et al. 2015 (arXiv 1511.06434), section 5: all layers, a 4x4 grid.
    """

    def __init__(self, discriminator: Discriminator | None, layers: Sequence[str], grid: int) -> None:
        super().__init__()
        self.discriminator, self.layers, self.grid = discriminator, tuple(layers), grid

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, F), layer by layer."""
        if self.discriminator is None:
            return images.flatten(1)
        maps = self.discriminator.features(images)
        unknown = [layer for layer in self.layers if layer not in maps]
        if unknown:
            raise ConfigError(f"strategy.layers: {unknown[0]!r} is no layer of D; choose from {', '.join(maps)}")
        features = [maps[layer] for layer in self.layers or maps]
        pooled = [F.adaptive_max_pool2d(one, self.grid) if one.shape[-1] > self.grid else one for one in features]
        return torch.cat([one.flatten(1) for one in pooled], dim=1)


class ProbedBackbone(nn.Module):
    """Images -> logits: extractor, standardisation by ``mean`` and ``scale`` (F,), head."""

    mean: Tensor
    scale: Tensor

    def __init__(self, extractor: FeatureExtractor, head: nn.Module, features: int) -> None:
        super().__init__()
        self.extractor, self.head = extractor, head
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def embed(self, images: Tensor) -> Tensor:
        """The standardised features, (N, F)."""
        features: Tensor = self.extractor(images).to(self.mean.dtype)
        return (features - self.mean) / self.scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(self.embed(images))
        return logits

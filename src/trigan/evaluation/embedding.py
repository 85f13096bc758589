"""Features of a few images, made small enough to be kept with a run: for a map of them."""

import torch
from torch import Tensor

#: How many images, and how many principal components of their features.
MAX_IMAGES, MAX_COMPONENTS = 500, 50


def evenly_spaced_indices(total: int, count: int = MAX_IMAGES) -> Tensor:
    """At most ``count`` of 0..total-1, evenly spread, int64."""
    return torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()


def principal_components(features: Tensor, count: int = MAX_COMPONENTS) -> Tensor:
    """The first principal components (N, at most ``count``) of features (N, F), largest variance first, float32."""
    finite = features.double().nan_to_num()
    left, scale, _ = torch.linalg.svd(finite - finite.mean(0), full_matrices=False)
    return (left * scale)[:, :count].float()

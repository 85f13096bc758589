"""Features of a few test images, small enough to be stored with a run, for a map of them."""

import torch
from torch import Tensor

#: Stored images, and principal components of their features.
MAX_IMAGES, MAX_COMPONENTS = 500, 50


def evenly_spaced_indices(total: int, count: int = MAX_IMAGES) -> Tensor:
    """At most ``count`` of 0..total-1, evenly spaced, int64."""
    return torch.linspace(0, total - 1, min(count, total), dtype=torch.float64).round().long()


def principal_components(features: Tensor, count: int = MAX_COMPONENTS) -> Tensor:
    """The first principal components (N, at most ``count``) of features (N, F), largest variance first, float32."""
    finite = features.double().nan_to_num()
    left, scale, _ = torch.linalg.svd(finite - finite.mean(0), full_matrices=False)
    components: Tensor = (left * scale)[:, :count]
    return components.float()

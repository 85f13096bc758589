"""Losses of pretext tasks, which need no labels."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5, start: int = 0, stop: int | None = None) -> Tensor:
    """E -log exp(s_ij / t) / sum_(k != i) exp(s_ik / t), s the cosine: Chen et al. 2020 (2002.05709), eq. 1 (NT-Xent).

    The sum is over all other views of the batch, two of each image. The mean is over both views of the images
    ``start..stop``: each rank takes its own images as anchors against the views of the global batch.

    Args:
        first: projections (N, d) of one view of each image, not normalised.
        second: projections (N, d) of the other view, row by row of the same images.
        temperature: t, above 0.
        start: first anchor image.
        stop: end of the anchor images (exclusive), N by default.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)
    images = torch.arange(len(first), device=first.device)[start:stop]
    anchors = torch.cat([images, images + len(first)])
    positives = torch.cat([images + len(first), images])
    similarity = views[anchors] @ views.T / temperature
    is_self = anchors[:, None] == torch.arange(len(views), device=first.device)
    return F.cross_entropy(similarity.masked_fill(is_self, float("-inf")), positives)


def squared_error(restored: Tensor, clean: Tensor) -> Tensor:
    """E ||r - x||^2 / (C S S) over images (N, C, S, S): a denoising autoencoder's loss for Gaussian outputs.

    Vincent et al. 2008 (ICML). No gradient flows into the clean images.
    """
    return (restored - clean.detach()).square().mean()

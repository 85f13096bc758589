"""Contrast between views: two views of an image should be alike, and unlike the views of all others."""

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5, start: int = 0, stop: int | None = None) -> Tensor:
    """E -log exp(s_ij / t) / sum_(k != i) exp(s_ik / t), s the cosine: NT-Xent, SimCLR (2002.05709), eq. 1.

    The sum runs over all other views of the batch, both of every image. The mean is over both views of the images
    ``start..stop`` (all by default), so that ranks share the anchors of a batch whose views all of them know.

    Args:
        first, second: the views' projections (N, d) before normalisation, row by row of the same images.
        temperature: t, above 0.
    """
    every = F.normalize(torch.cat([first, second]), dim=1)
    images = torch.arange(len(first), device=first.device)[start:stop]
    anchors = torch.cat([images, images + len(first)])
    partners = torch.cat([images + len(first), images])
    similarity = every[anchors] @ every.T / temperature
    itself = torch.zeros_like(similarity, dtype=torch.bool)
    itself[torch.arange(len(anchors), device=first.device), anchors] = True
    return F.cross_entropy(similarity.masked_fill(itself, float("-inf")), partners)

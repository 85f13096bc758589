"""Cross-entropy of images that are mixed of two, each with its label."""

import torch.nn.functional as F
from torch import Tensor


def mixed_cross_entropy(logits: Tensor, labels: Tensor, others: Tensor, share: Tensor, weights: Tensor) -> Tensor:
    """s w_a CE(l, a) + (1 - s) w_b CE(l, b), row by row (N,).

    Zhang et al. 2018 (arXiv 1710.09412): cross-entropy is linear in the target, so this is that of the mixed one-hot
    target; Yun et al. 2019 (arXiv 1905.04899), eq. 1, with the share of pixels for s.

    Args:
        logits: (N, K), of the mixed images.
        labels, others: (N,), a and b.
        share: (N,) in [0, 1], s.
        weights: (K,), w, on each class's errors.
    """
    first = F.cross_entropy(logits, labels, reduction="none") * weights[labels]
    second = F.cross_entropy(logits, others, reduction="none") * weights[others]
    return share * first + (1.0 - share) * second

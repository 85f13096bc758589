"""What C's answers to unlabelled images should be like: sure one by one, and even over the classes on average.

Both are summands of C's loss in the code of Triple-GAN (Li et al. 2017, 1703.02291; after Springenberg 2015,
1511.06390); the first one is also in Dai et al. 2017 (1705.09783), eq. 8.
"""

import torch
from torch import Tensor


def conditional_entropy(logits: Tensor) -> Tensor:
    """E H[p(y|x)] = -E sum_k p_k log p_k, p = softmax l (N, K): 0 where C is certain, log K where it knows nothing."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


def uniform_marginal_loss(mean: Tensor) -> Tensor:
    """Cross-entropy of the uniform distribution against the mean answer: -mean_k log E p_k, at least log K.

    Args:
        mean: mean of the probabilities over the global batch, (K,).
    """
    return -mean.clamp_min(torch.finfo(mean.dtype).tiny).log().mean()

"""Triple-GAN's base form: Li et al. 2017 (1703.02291), algorithm 1, in the non-saturating form of the authors' code.

D judges pairs (x, y): labelled ones are real; pairs (x_u, y_c) labelled by C have the share ``alpha`` of the negatives,
pairs (G(z, y), y) the rest. All logits are D's, (N,). C also learns from labelled images, and from G's pairs, by plain
cross-entropy.
"""

import torch.nn.functional as F
from torch import Tensor


def pair_discriminator(real: Tensor, classified: Tensor, generated: Tensor, alpha: float = 0.5) -> Tensor:
    """E softplus(-l_r) + alpha E softplus(l_c) + (1 - alpha) E softplus(l_g)."""
    negatives = alpha * F.softplus(classified).mean() + (1 - alpha) * F.softplus(generated).mean()
    return F.softplus(-real).mean() + negatives


def pair_classifier(logits: Tensor, judged: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha E [max p(y|x_u) softplus(-D(x_u, argmax p))]: C is paid for labels that D believes.

    The label itself has no gradient; it reaches C through the probability alone.

    Args:
        logits: C's, on unlabelled images, (N, K).
        judged: D's logits of the same images with C's most likely labels, (N,).
    """
    confidence = logits.softmax(1).amax(1)
    return alpha * (confidence * F.softplus(-judged.detach())).mean()


def pair_generator(generated: Tensor, alpha: float = 0.5) -> Tensor:
    """(1 - alpha) E softplus(-l_g)."""
    return (1 - alpha) * F.softplus(-generated).mean()

"""C's part of Triple-GAN's base form: Li et al. 2017 (1703.02291), algorithm 1, as in the authors' code."""

import torch.nn.functional as F
from torch import Tensor


def pair_classifier(logits: Tensor, judged: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha E [max p(y|x_u) softplus(-D(x_u, argmax p))]: C is paid for labels that D believes.

    The label itself has no gradient; it reaches C through the probability alone.

    Args:
        logits: C's, on unlabelled images, (N, K).
        judged: D's logits of the same images with C's most likely labels, (N,).
    """
    confidence = logits.softmax(1).amax(1)
    return alpha * (confidence * F.softplus(-judged.detach())).mean()

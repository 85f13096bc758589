"""Triple-GAN's losses on pairs (image, label): Li et al. 2017 (1703.02291), algorithm 1, as in the authors' code."""

import torch.nn.functional as F
from torch import Tensor

from trigan.losses.gan_losses import DiscriminatorLoss


def pair_discriminator(
    loss: DiscriminatorLoss, real: Tensor, by_classifier: Tensor, by_generator: Tensor, alpha: float = 0.5
) -> Tensor:
    """alpha loss(l_r, l_c) + (1 - alpha) loss(l_r, l_g): D's attention to false pairs, divided between C and G.

    Args:
        loss: a game's loss for D, the sum of a term in real and a term in fake logits.
        real: D's logits of pairs that pass for true ones, (N,).
        by_classifier, by_generator: its logits of pairs whose label C gave, and whose image G drew, (N,).
    """
    return alpha * loss(real, by_classifier) + (1.0 - alpha) * loss(real, by_generator)


def pair_classifier(logits: Tensor, discriminator_logits: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha E sum_y p(y|x_u) softplus(-D(x_u, y)): C is paid for labels that D believes, and moves towards them.

    The expectation over C's labels of algorithm 1, with the non-saturating form of log(1 - D); `integrate` in the code.

    Args:
        logits: C's, on unlabelled images, (N, K).
        discriminator_logits: D's logits of the same images with every label, (N, K); they get no gradient.
    """
    return alpha * (logits.softmax(1) * F.softplus(-discriminator_logits.detach())).sum(1).mean()


def argmax_pair_classifier(logits: Tensor, discriminator_logits: Tensor, alpha: float = 0.5) -> Tensor:
    """alpha E [max p(y|x_u) softplus(-D(x_u, argmax p))]: the same with the likeliest label alone.

    The label itself has no gradient. What is left can only lower max p, the less the more D believes: without a term
    that makes C sure, such as the entropy that the code has beside it, C ends up unsure of everything.

    Args:
        logits: C's, on unlabelled images, (N, K).
        discriminator_logits: D's logits of the same images with C's most likely labels, (N,); they get no gradient.
    """
    confidence = logits.softmax(1).amax(1)
    return alpha * (confidence * F.softplus(-discriminator_logits.detach())).mean()

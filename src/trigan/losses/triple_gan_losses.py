"""Triple-GAN's losses on pairs (image, label): Li et al. 2017 (1703.02291), algorithm 1, as in the authors' code.

E is the mean over the N rows; alpha in [0, 1] weights the pairs of C against those of G.
"""

import torch.nn.functional as F
from torch import Tensor

from trigan.losses.gan_losses import DiscriminatorLoss


def pair_discriminator(
    loss: DiscriminatorLoss, real: Tensor, by_classifier: Tensor, by_generator: Tensor, alpha: float = 0.5
) -> Tensor:
    """D's loss: alpha loss(l_r, l_c) + (1 - alpha) loss(l_r, l_g).

    Args:
        loss: an adversarial loss of D, the sum of a term in real and a term in fake logits.
        real: D's logits l_r of pairs that count as real, (N,).
        by_classifier: D's logits l_c of real images with the labels that C predicts, (N,).
        by_generator: D's logits l_g of the images that G generates for given labels, (N,).
        alpha: weight of C's pairs.
    """
    return alpha * loss(real, by_classifier) + (1.0 - alpha) * loss(real, by_generator)


def pair_classifier(logits: Tensor, discriminator_logits: Tensor, alpha: float = 0.5) -> Tensor:
    """C's adversarial loss, in expectation over its labels: alpha E sum_y p(y|x_u) softplus(-D(x_u, y)).

    The non-saturating form of algorithm 1's log(1 - D); `integrate` in the authors' code.

    Args:
        logits: C's, on unlabelled images, (N, K).
        discriminator_logits: D's logits of the same images with every label, (N, K); they get no gradient.
        alpha: weight of C's pairs.
    """
    return alpha * (logits.softmax(1) * F.softplus(-discriminator_logits.detach())).sum(1).mean()


def argmax_pair_classifier(logits: Tensor, discriminator_logits: Tensor, alpha: float = 0.5) -> Tensor:
    """C's adversarial loss for its most likely label: alpha E [max p(y|x_u) softplus(-D(x_u, argmax p))].

    The label has no gradient, so this loss can only lower max p, most where D rejects the pair. Without a term that
    favours certainty, such as the entropy in the authors' code, C's predictions become uniform.

    Args:
        logits: C's, on unlabelled images, (N, K).
        discriminator_logits: D's logits of the same images with C's most likely labels, (N,); they get no gradient.
        alpha: weight of C's pairs.
    """
    confidence = logits.softmax(1).amax(1)
    return alpha * (confidence * F.softplus(-discriminator_logits.detach())).mean()

"""Triple-GAN's losses on pairs (image, label): Li et al. 2017 (1703.02291), algorithm 1, as in the authors' code.

E is the mean over the N rows; alpha in [0, 1] weights the pairs of C against those of G.
"""

import torch.nn.functional as F
from torch import Tensor

from trigan.losses.gan_losses import DiscriminatorLoss


def pair_discriminator(
    loss: DiscriminatorLoss, real: Tensor, by_classifier: Tensor, by_generator: Tensor, alpha: float
) -> Tensor:
    """D's loss: alpha loss(l_r, l_c) + (1 - alpha) loss(l_r, l_g).

    Args:
        loss: an adversarial loss of D, the sum of a term in real and a term in fake logits.
        real: D's logits l_r of pairs that count as real, (N,).
        by_classifier: D's logits l_c of real images with the labels that C predicts, (N,).
        by_generator: D's logits l_g of the images that G generates for given labels, (N,).
        alpha: as above.
    """
    return alpha * loss(real, by_classifier) + (1.0 - alpha) * loss(real, by_generator)


def pair_classifier(probabilities: Tensor, discriminator_logits: Tensor, alpha: float) -> Tensor:
    """C's adversarial loss: alpha E sum_y p(y|x_u) softplus(-D(x_u, y)), over every label or the most likely one.

    The non-saturating form of algorithm 1's log(1 - D). With every label it is `integrate` in the authors' code. A
    single label has no gradient, so the loss can then only lower max p, most where D rejects the pair: without a term
    that favours certainty, such as the entropy in the authors' code, C's predictions become uniform.

    Args:
        probabilities: C's, of the L labels in the sum (K or 1) for unlabelled images, (N, L).
        discriminator_logits: D's logits of the same pairs, (N, L); they get no gradient.
        alpha: as above.
    """
    return alpha * (probabilities * F.softplus(-discriminator_logits.detach())).sum(1).mean()

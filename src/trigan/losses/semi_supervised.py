"""Semi-supervised GANs with K + 1 classes: Salimans et al. 2016 (1606.03498), section 5, with G's feature matching.

The K-way logits l(x) define Z(x) = sum_k exp l_k(x); with the logit of "generated" fixed at 0, D(x) = Z / (Z + 1) is
the probability of a real image. Labelled rows add plain cross-entropy. The factors of 1/2 are those of the authors'
code.
"""

import torch.nn.functional as F
from torch import Tensor


def k_plus_one_real(logits: Tensor) -> Tensor:
    """-E log D(x) / 2 = E [softplus(log Z) - log Z] / 2, for logits (N, K) of unlabelled real images."""
    return 0.5 * F.softplus(-logits.logsumexp(1)).mean()


def k_plus_one_generated(logits: Tensor) -> Tensor:
    """-E log (1 - D(x)) / 2 = E softplus(log Z) / 2, for logits (N, K) of generated images."""
    return 0.5 * F.softplus(logits.logsumexp(1)).mean()


def absolute_feature_matching(real_mean: Tensor, fake_mean: Tensor) -> Tensor:
    """mean_i |E f_i(x) - E f_i(G(z))|: the form of Dai et al. 2017's code for SVHN; arguments as below."""
    return (real_mean.detach() - fake_mean).abs().mean()


def feature_matching(real_mean: Tensor, fake_mean: Tensor) -> Tensor:
    """mean_i (E f_i(x) - E f_i(G(z)))^2, G's loss (section 3.1, as in the authors' code).

    Args:
        real_mean, fake_mean: means over the global batch of an inner layer, (F,); gradients are kept for the fake only.
    """
    return (real_mean.detach() - fake_mean).square().mean()

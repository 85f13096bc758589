"""Losses of the classifier on mixed, unlabelled and generated images.

Notation: l are C's logits (N, K), p = softmax l, CE is cross-entropy, 1[.] is 1 where the condition holds and else 0. E
is the mean over all N rows, those whose indicator is 0 included. Thresholds are compared with probabilities, never with
logits, and no gradient flows through a pseudo-label.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def mixed_cross_entropy(logits: Tensor, labels: Tensor, others: Tensor, share: Tensor, weights: Tensor) -> Tensor:
    """Per row (N,): s w_a CE(l, a) + (1 - s) w_b CE(l, b), the cross-entropy of the mixed one-hot target.

    Zhang et al. 2018 (1710.09412), section 2, with the mixing coefficient as s; Yun et al. 2019 (1905.04899), eq. 1,
    with the share of pixels.

    Args:
        logits: l of the mixed images, (N, K).
        labels: a, (N,).
        others: b, (N,).
        share: s in [0, 1], (N,).
        weights: w, the weight of each class's errors, (K,).
    """
    first = F.cross_entropy(logits, labels, reduction="none") * weights[labels]
    second = F.cross_entropy(logits, others, reduction="none") * weights[others]
    return share * first + (1.0 - share) * second


def conditional_entropy(logits: Tensor) -> Tensor:
    """E H[p(y|x)] = -E sum_k p_k log p_k, logits (N, K), between 0 (certain) and log K (uniform).

    Dai et al. 2017 (1705.09783), eq. 8; after Springenberg 2015 (1511.06390), also in the code of Triple-GAN
    (1703.02291).
    """
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


def uniform_marginal_loss(mean: Tensor) -> Tensor:
    """-mean_k log E p_k, the cross-entropy of the uniform distribution against the mean prediction, at least log K.

    ``mean`` is E p over the global batch, (K,). In the code of Triple-GAN (1703.02291); after Springenberg 2015
    (1511.06390).
    """
    return -mean.clamp_min(torch.finfo(mean.dtype).tiny).log().mean()


def pi_model_loss(first: Tensor, second: Tensor) -> Tensor:
    """E ||p - p'||^2 / K on logits (N, K) of two views of each image: Laine & Aila 2017 (1610.02242), section 2.1.

    Gradients flow through both.
    """
    return (first.softmax(1) - second.softmax(1)).square().mean()


def sigmoid_ramp_up(progress: float) -> float:
    """exp(-5 (1 - t)^2), t = min(1, ``progress``), the weight of a consistency loss: 1610.02242, section 2.1."""
    return math.exp(-5.0 * (1.0 - min(1.0, progress)) ** 2)


def fixmatch_loss(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    """E 1[max p_weak >= t] CE(l_strong, argmax p_weak): Sohn et al. 2020 (2001.07685), eq. 4.

    Logits (N, K) of the weakly and of the strongly augmented views of the same images; ``threshold`` t in [0, 1].
    """
    confidence, labels = weak.detach().softmax(1).max(1)
    return (F.cross_entropy(strong, labels, reduction="none") * (confidence >= threshold)).mean()


def gated_label(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """E 1[p_y > t] CE(l, y), logits (N, K), labels y (N,): EC-GAN's loss on generated images (Haque 2020, 2012.15864).

    y is argmax p in the paper, or the label given to G.
    """
    confidence = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1)
    return (F.cross_entropy(logits, labels, reduction="none") * (confidence > threshold)).mean()

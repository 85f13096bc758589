"""Losses on labels that a classifier gave: gates compare probabilities, never logits; no gradient reaches a target."""

import torch.nn.functional as F
from torch import Tensor


def gated_pseudo_label(logits: Tensor, threshold: float) -> Tensor:
    """E CE(l, argmax l) 1[max p > t], p = softmax l (N, K): EC-GAN's term on generated images (2012.15864).

    The mean is over all rows, not only over those that pass the gate, so few sure rows weigh little.
    """
    confidence, labels = logits.detach().softmax(1).max(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (losses * (confidence > threshold)).mean()


def gated_label(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """E CE(l, y) 1[p_y > t]: the same term where G drew each image for a label y (N,) (2012.15864, conditional G).

    The gate asks whether C, too, sees y in the image; the mean is over all rows.
    """
    believed = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (losses * (believed > threshold)).mean()


def fixmatch_loss(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    """E 1[max p_weak >= t] CE(l_strong, argmax p_weak): FixMatch's unlabelled loss (2001.07685), eq. 4.

    Args:
        weak, strong: logits (N, K) of the weakly and the strongly augmented view of the same images.
        threshold: the least probability that is believed.
    """
    confidence, labels = weak.detach().softmax(1).max(1)
    losses = F.cross_entropy(strong, labels, reduction="none")
    return (losses * (confidence >= threshold)).mean()

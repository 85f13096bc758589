"""The Pi-model's consistency loss: Laine & Aila 2017 (1610.02242), section 2.1."""

import math

from torch import Tensor


def pi_model_loss(one: Tensor, other: Tensor) -> Tensor:
    """E |p - p'|^2 / K, p = softmax l: the loss on two views of the same images, logits (N, K) each.

    Gradients flow through both.
    """
    return (one.softmax(1) - other.softmax(1)).square().mean()


def sigmoid_ramp_up(progress: float) -> float:
    """exp(-5 (1 - t)^2), t = ``progress`` up to 1: how the loss's weight comes in; .0067 at 0, 1 from t = 1 on."""
    return math.exp(-5.0 * (1.0 - min(1.0, progress)) ** 2)

"""Regularisers of D and G as pure functions; notation as in `trigan.losses.gan_losses`.

A gradient with respect to an image is taken of the sum of the logits (N,): it is that of each image's own logit if no
layer mixes the images of a batch. Where D sees packs of m images (`trigan.networks.gans.pacgan`) there is one logit,
and one gradient, for each m consecutive images.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def _gradients(logits: Tensor, images: Tensor) -> Tensor:
    """The gradient of each logit (N,), as rows (N, d), differentiable in the weights."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1).view(len(logits), -1)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, eps: Tensor, one_sided: bool = False
) -> Tensor:
    """E (||grad D(x_hat)||_2 - 1)^2 at x_hat = eps x_r + (1 - eps) x_f: Gulrajani et al. 2017 (1704.00028), eq. 3.

    One-sided: E max(0, ||grad D(x_hat)||_2 - 1)^2, Petzka et al. 2018 (1709.08894, WGAN-LP). DRAGAN (Kodali et al.
    2017, 1705.07215, as in the authors' code) is the two-sided penalty with `perturbed` images as x_r, and x_r as x_f.

    Args:
        critic: images (N, C, S, S) -> logits (N,), each row's logit a function of that row alone (no batch norm).
        real: images (N, C, S, S); no gradient flows into them.
        fake: images (N, C, S, S); no gradient flows into them.
        eps: uniform random numbers in [0, 1), (N, 1, 1, 1).
        one_sided: whether slopes below 1 are left alone.

    Returns:
        The mean over rows, differentiable in the critic's weights.
    """
    mixed = torch.lerp(fake.detach(), real.detach(), eps).requires_grad_()
    excess: Tensor = _gradients(critic(mixed), mixed).norm(2, dim=1) - 1
    return (F.relu(excess) if one_sided else excess).square().mean()


def perturbed(real: Tensor, noise: Tensor, deviation: Tensor) -> Tensor:
    """x_r + s u / 2 (1705.07215): images (N, C, S, S), ``noise`` u uniform in [0, 1), ``deviation`` s of all pixels."""
    return real.detach() + 0.5 * deviation * noise


def zero_centred_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E ||grad D(x)||_2^2 / 2: Mescheder et al. 2018 (1801.04406), eq. 9 (R1, real images) and 10 (R2, generated).

    Args:
        logits: D(x), (N,), with their graph.
        images: x, (N, C, S, S), leaves that require a gradient.
    """
    return 0.5 * _gradients(logits, images).square().sum(1).mean()


def lecam(real: Tensor, fake: Tensor, mean_real: Tensor, mean_fake: Tensor) -> Tensor:
    """E max(0, l_r - a_f)^2 + E max(0, a_r - l_f)^2: Tseng et al. 2021 (2104.03310), as in the authors' code.

    The paper's equation has no max. Logits (N,); ``mean_real`` a_r and ``mean_fake`` a_f, (), are moving averages of
    the mean logits.
    """
    return F.relu(real - mean_fake).square().mean() + F.relu(mean_real - fake).square().mean()


def logit_consistency(logits: Tensor, transformed: Tensor) -> Tensor:
    """E (D(x) - D(T(x)))^2, logits (N,): Zhang et al. 2020 (1910.12027); gradients flow through both."""
    return (logits - transformed).square().mean()


def label_smoothing(real: Tensor, smoothing: float) -> Tensor:
    """The term s E l_r, logits (N,), that makes E softplus(-l_r) the cross-entropy with the target 1 - s.

    Because softplus(l) - softplus(-l) = l: (1 - s) softplus(-l) + s softplus(l) = softplus(-l) + s l. One-sided label
    smoothing, Salimans et al. 2016 (1606.03498), section 3.4.
    """
    return smoothing * real.mean()


def top_k(fake: Tensor, count: int) -> Tensor:
    """The ``count`` largest of the logits (N,): Sinha et al. 2020 (2002.06224), alg. 1; ``count`` in 1..N."""
    return fake.topk(count).values

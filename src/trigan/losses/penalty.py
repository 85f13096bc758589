"""A penalty on the discriminator's gradient with respect to images; it can be differentiated on."""

from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
    """E (||grad D(x_hat)||_2 - 1)^2 at x_hat = eps x_r + (1 - eps) x_f: Gulrajani et al. 2017 (1704.00028), eq. 3.

    Args:
        critic: images (N, C, S, S) -> logits (N,), each row's logit a function of that row alone (no batch norm).
        real, fake: images (N, C, S, S); no gradient flows into them.
        eps: uniform numbers in [0, 1), shape (N, 1, 1, 1): the caller's randomness.
    """
    between = torch.lerp(fake.detach(), real.detach(), eps)
    return (_gradient(critic, between).norm(2, dim=1) - 1).square().mean()


def _gradient(critic: Critic, images: Tensor) -> Tensor:
    """Each row's gradient of its own logit, flattened to (N, C * S * S)."""
    images = images.requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return gradient.flatten(1)

"""Adversarial losses: what the discriminator minimises, and what the generator minimises.

Throughout, l_r = D(x) and l_f = D(G(z)) are logits of shape (N,), sigma is the logistic function, and
softplus(t) = log(1 + exp(t)), so that -log sigma(l) = softplus(-l) and -log(1 - sigma(l)) = softplus(l).
Every function gives a scalar, the mean over rows.
"""

import torch.nn.functional as F
from torch import Tensor

from trigan.components import component


@component("loss_term/minimax_discriminator@1")
def minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-l_r) + E softplus(l_f): Goodfellow et al. 2014 (1406.2661), eq. 1, negated."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


@component("loss_term/minimax_generator@1")
def minimax_generator(fake: Tensor) -> Tensor:
    """-E softplus(l_f) = E log(1 - sigma(l_f)): 1406.2661, eq. 1, the saturating game as first written."""
    return -F.softplus(fake).mean()


@component("loss_term/non_saturating_generator@1")
def non_saturating_generator(fake: Tensor) -> Tensor:
    """E softplus(-l_f) = -E log sigma(l_f): 1406.2661, section 3; D's loss is the minimax one."""
    return F.softplus(-fake).mean()


@component("loss_term/least_squares_discriminator@1")
def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E (l_r - 1)^2 / 2 + E l_f^2 / 2: Mao et al. 2017 (1611.04076), eq. 9 (a = 0, b = 1)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


@component("loss_term/least_squares_generator@1")
def least_squares_generator(fake: Tensor) -> Tensor:
    """E (l_f - 1)^2 / 2: 1611.04076, eq. 9 (c = 1)."""
    return 0.5 * (fake - 1).square().mean()


@component("loss_term/hinge_discriminator@1")
def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - l_r) + E max(0, 1 + l_f): Miyato et al. 2018 (1802.05957), eq. 16."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


@component("loss_term/hinge_generator@1")
def hinge_generator(fake: Tensor) -> Tensor:
    """-E l_f: 1802.05957, eq. 17."""
    return -fake.mean()


@component("loss_term/wasserstein_discriminator@1")
def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E l_f - E l_r: Arjovsky et al. 2017 (1701.07875), eq. 3, negated; the penalty is a term of its own."""
    return fake.mean() - real.mean()


@component("loss_term/wasserstein_generator@1")
def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E l_f: 1701.07875, algorithm 1."""
    return -fake.mean()

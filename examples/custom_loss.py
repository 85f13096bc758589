"""A loss of your own in a run: the relativistic average GAN (Jolicoeur-Martineau 2018, arXiv 1807.00734).

python examples/custom_loss.py [settings]
"""

import sys

from torch import Tensor
from torch.nn import functional as F

import trigan
from trigan.losses.gan_losses import AdversarialLoss


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Real images should look more real than the average fake, and the reverse; logits (N,) each -> scalar."""
    return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss of G; logits (N,) -> scalar."""
    return F.softplus(-fake).mean()


def relativistic(
    gradient_penalty: float = 0.0,
    discriminator_steps: int = 1,
    learning_rate: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
) -> AdversarialLoss:
    """What a config names: the pair of losses with the settings that belong to it."""
    pair = discriminator_loss, generator_loss
    return AdversarialLoss(*pair, gradient_penalty, discriminator_steps, learning_rate, betas)


if __name__ == "__main__":
    # `runtime.allow` lets a config name this module; its source is part of the run's hash
    own = ["runtime.allow=[custom_loss]", "loss={_target_: custom_loss.relativistic}", "logger=none"]
    run = trigan.run("strategy=features", *own, *sys.argv[1:])
    print(f"probe on D's features: {100 * run.accuracy:.1f} %, {run.directory}")

"""Adversarial training of C: the images of a batch are attacked before, or beside, the update."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.evaluation.robustness.attacks import AttackLoss, Ball, Norm, pgd
from trigan.losses.unlabelled_losses import kl_divergence
from trigan.rng import Draws

#: TRADES starts from the image with normal noise of this standard deviation, for pixels in [0, 1] (authors' code).
_TRADES_START = 0.001


@dataclass(frozen=True)
class Adversary(ABC):
    """Base of adversarial training.

    The attack sees C in evaluation mode (running statistics, no dropout), as TRADES' authors do; it moves no statistics
    and draws no dropout. Its random numbers are those of the batch's rows. The passes of the update are in training
    mode, so the running statistics are those of the images that the loss is taken on.

    Attributes:
        eps: size of the attack, of pixels in [0, 1], in `norm`.
        steps: of the attack.
        step_size: on the same scale; None: 2.5 eps / ``steps``.
        norm: ``linf``, or ``l2`` over the whole image.
    """

    eps: float = 0.1
    steps: int = 10
    step_size: float | None = None
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        require(self.eps > 0.0, "adversary.eps", self.eps, "above 0; for clean training set recipe/adversary=null")
        require_at_least("adversary.steps", self.steps, 1)
        require(
            self.step_size is None or self.step_size > 0.0, "adversary.step_size", self.step_size, "above 0, or null"
        )
        require(self.norm in ("linf", "l2"), "adversary.norm", self.norm, "linf or l2")

    @abstractmethod
    def __call__(self, network: nn.Module, images: Tensor, loss: AttackLoss, draws: Draws) -> tuple[Tensor, Tensor]:
        """The logits (N, K) whose accuracy is logged, and the loss of each image, (N,).

        Args:
            network: C in training mode.
            images: the augmented batch, float (N, C, S, S) in [-1, 1].
            loss: logits (N, K) -> the loss of each image without an attack, (N,).
            draws: of the batch's rows.
        """

    def attacked(self, network: nn.Module, images: Tensor, loss: AttackLoss, start: Tensor) -> Tensor:
        """The images that raise ``loss`` by PGD from ``start``."""
        ball = Ball(self.norm, self.eps)
        return pgd(network, images, loss, ball, self.steps, ball.project(start, images), self.step_size)


@component("adversary/pgd@1")
@dataclass(frozen=True)
class PGDTraining(Adversary):
    """The loss of images attacked by PGD from a random point of the ball: Madry et al. 2018 (1706.06083), eq. 2.1.

    CIFAR-10: eps 8/255, 7 steps of 2/255; MNIST: eps .3, 40 steps of .01.
    """

    steps: int = 7

    def __call__(self, network: nn.Module, images: Tensor, loss: AttackLoss, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Adversary`."""
        with evaluation_mode(network):
            start = Ball(self.norm, self.eps).random_start(images, draws)
            attacked = self.attacked(network, images, loss, start)
        logits = network(attacked)
        return logits, loss(logits)


@component("adversary/trades@1")
@dataclass(frozen=True)
class TRADES(Adversary):
    """The loss of the images plus ``beta`` KL(p(x) || p(x')): Zhang et al. 2019 (arXiv 1901.08573), eq. 5.

    x' maximises the same divergence, by PGD from x with a little noise. CIFAR-10: eps .031, 10 steps of .007; MNIST:
    eps .3, 40 steps of .01; beta (1 / lambda) 1 to 6.

    Attributes:
        beta: weight of the divergence.
    """

    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0.0, "adversary.beta", self.beta, "above 0")

    def __call__(self, network: nn.Module, images: Tensor, loss: AttackLoss, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Adversary`."""
        with evaluation_mode(network):
            clean = network(images).detach()
            noise = draws.normal("attack/start", *images.shape[1:]).to(images)
            start = images + 2.0 * _TRADES_START * noise
            attacked = self.attacked(network, images, lambda logits: kl_divergence(clean, logits), start)
        logits = network(images)
        return logits, loss(logits) + self.beta * kl_divergence(logits, network(attacked))


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Within it the network is in evaluation mode; at the end every layer is in the mode it was in."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True

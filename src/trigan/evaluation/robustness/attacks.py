"""Attacks on a classifier by gradients: FGSM and PGD, as functions of its logits.

Images are float (N, C, S, S) in [-1, 1], as everywhere. The size eps of a perturbation is on the scale of pixels in
[0, 1], as in the papers: a perturbation of eps changes a value in [-1, 1] by up to 2 eps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trigan.errors import ConfigError
from trigan.rng import Draws

Norm = Literal["linf", "l2"]
#: Images (N, C, S, S) in [-1, 1] -> logits (N, K). It must not change in a pass, nor draw random numbers.
Model = Callable[[Tensor], Tensor]
#: Logits (N, K) -> what an attack raises, (N,), each value a function of its own row.
AttackLoss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ball:
    """The images within a distance ``eps`` of an image, of pixels in [0, 1] and by ``norm`` over the whole image.

    Example:
        >>> image = torch.zeros(1, 1, 2, 2)
        >>> Ball("linf", 0.1).project(image + 1.0, image).unique().item()  # 0.1 of [0, 1] is 0.2 of [-1, 1]
        0.20000000298023224
    """

    norm: Norm
    eps: float

    @property
    def radius(self) -> float:
        """``eps`` on the scale of images in [-1, 1]."""
        return 2.0 * self.eps

    def direction(self, gradient: Tensor) -> Tensor:
        """The step of length 1 along which a linear function rises most: the sign, or the normalised gradient."""
        return gradient.sign() if self.norm == "linf" else gradient / lengths(gradient).clamp(min=1e-12)

    def project(self, images: Tensor, clean: Tensor) -> Tensor:
        """``images`` moved into the ball around ``clean`` and into [-1, 1]."""
        shift = images - clean
        if self.norm == "linf":
            shift = shift.clamp(-self.radius, self.radius)
        else:
            shift = shift * (self.radius / lengths(shift).clamp(min=self.radius))
        return (clean + shift).clamp(-1.0, 1.0)

    def random_start(self, clean: Tensor, draws: Draws) -> Tensor:
        """A uniformly drawn point of each image's ball, clipped to [-1, 1]."""
        shape = clean.shape[1:]
        if self.norm == "linf":
            shift = (2.0 * draws.uniform("attack/start", *shape) - 1.0) * self.radius
        else:
            share = draws.uniform("attack/radius", 1, 1, 1) ** (1.0 / shape.numel())
            shift = self.direction(draws.normal("attack/start", *shape)) * share * self.radius
        return self.project(clean + shift.to(clean), clean)


def lengths(images: Tensor) -> Tensor:
    """The Euclidean norm of each image, (N, 1, 1, 1)."""
    norms: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return norms


class Slope(NamedTuple):
    """At some images: the gradient of the loss (N, C, S, S), the ``loss`` (N,) and the ``logits`` (N, K)."""

    gradient: Tensor
    loss: Tensor
    logits: Tensor


def slope(model: Model, images: Tensor, loss: AttackLoss) -> Slope:
    """The gradient of ``loss`` by each image.

    Raises:
        ConfigError: no gradient comes back through the classifier.
    """
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        logits = model(x)
        losses = loss(logits)
        if not losses.requires_grad:
            raise ConfigError(
                "evaluation.attacks: the classifier gives no gradient with respect to its images, and attacks by "
                "gradients would find it robust; leave evaluation.attacks=[] for this row"
            )
        (gradient,) = torch.autograd.grad(losses.sum(), x)
    return Slope(gradient, losses.detach(), logits.detach())


def pgd(
    model: Model,
    clean: Tensor,
    loss: AttackLoss,
    ball: Ball,
    steps: int,
    start: Tensor | None = None,
    step_size: float | None = None,
) -> Tensor:
    """Projected gradient ascent of ``loss`` within ``ball`` (Madry et al. 2018, arXiv 1706.06083, section 2.1).

    x <- P(x + a sign(grad)) for L-inf, P(x + a grad / |grad|) for L2.

    Args:
        model: in evaluation mode.
        clean: the images, (N, C, S, S) in [-1, 1].
        loss: for cross-entropy see `cross_entropy`.
        ball: the permitted images.
        steps: number of steps.
        start: where to begin; None: at ``clean``.
        step_size: a, on the scale [0, 1] of ``eps``; None: 2.5 eps / ``steps``, so that every point of the ball can be
            reached from every other.

    Returns:
        Images like ``clean``, without gradient.
    """
    size = ball.radius * 2.5 / steps if step_size is None else 2.0 * step_size
    images = clean if start is None else start
    for _ in range(steps):
        images = ball.project(images + size * ball.direction(slope(model, images, loss).gradient), clean)
    return images.detach()


def fgsm(model: Model, clean: Tensor, loss: AttackLoss, eps: float) -> Tensor:
    """One step of ``eps`` along the sign of the gradient (Goodfellow et al. 2015, arXiv 1412.6572, section 4)."""
    return pgd(model, clean, loss, Ball("linf", eps), steps=1, step_size=eps)


def cross_entropy(labels: Tensor) -> AttackLoss:
    """-log p_y of each row, with labels y (N,)."""
    return lambda logits: torch.nn.functional.cross_entropy(logits, labels, reduction="none")

"""Losses of C on labels of which some are wrong; notation as in `trigan.losses.classifier_losses`."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.losses.classifier_losses import ClassifierLoss
from trigan.losses.label_transitions import NoTransition, Transition


@component("classifier_loss/label_smoothing@1")
@dataclass(frozen=True)
class SmoothedCrossEntropy(ClassifierLoss):
    """(1 - e) (-log p_y) + e / K sum_k -log p_k (Szegedy et al. 2016, 1512.00567, section 7).

    Under label noise: Lukasik et al. 2020 (2003.02819). ``smoothing`` is e, in [0, 1).
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "in [0, 1)")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)


@component("classifier_loss/generalised_cross_entropy@1")
@dataclass(frozen=True)
class GeneralisedCrossEntropy(ClassifierLoss):
    """(1 - p_y^q) / q (Zhang and Sabuncu 2018, 1805.07836, eq. 6).

    ``q`` in (0, 1]: towards 0 it is the cross-entropy, at 1 the mean absolute error 1 - p_y. Over all labels it adds up
    to a number between (K - K^(1-q)) / q and (K - 1) / q (their theorem 1), which bounds what wrong labels can do.
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        require(0 < self.q <= 1, "q", self.q, "above 0 and at most 1")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        return -torch.expm1(-self.q * F.cross_entropy(logits, labels, reduction="none")) / self.q


@component("classifier_loss/symmetric_cross_entropy@1")
@dataclass(frozen=True)
class SymmetricCrossEntropy(ClassifierLoss):
    """alpha (-log p_y) + beta (-A) (1 - p_y) (Wang et al. 2019, 1908.06112, eq. 6 and 7).

    The second part is the reverse cross-entropy -sum_k p_k log q_k of the one-hot label q, with ``log_zero``, A, in the
    place of log 0; over all labels it adds up to a constant. The authors' code has alpha 0.1, beta 1 and A = ln 1e-4.
    """

    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.log_zero < 0, "log_zero", self.log_zero, "below 0")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        cross_entropy = F.cross_entropy(logits, labels, reduction="none")
        return self.alpha * cross_entropy + self.beta * self.log_zero * torch.expm1(-cross_entropy)


@dataclass(frozen=True)
class CorrectedLoss(ClassifierLoss):
    """Base of losses that know the matrix T of the label noise; without noise they are the cross-entropy."""

    transition: Transition = field(default_factory=NoTransition)

    def for_data(self, classes: int, device: torch.device) -> ClassifierLoss:
        """The loss with T at hand."""
        matrix = self.transition.matrix(classes)
        return self if matrix is None else self.with_matrix(matrix.to(device))

    @abstractmethod
    def with_matrix(self, matrix: Tensor) -> ClassifierLoss:
        """The loss for T, float64 (K, K)."""

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """-log p_y."""
        return F.cross_entropy(logits, labels, reduction="none")


@component("classifier_loss/forward_correction@1")
@dataclass(frozen=True)
class ForwardCorrection(CorrectedLoss):
    """-log (T^T p)_y: C's probabilities pass through the noise (Patrini et al. 2017, 1609.03683, theorem 2)."""

    def with_matrix(self, matrix: Tensor) -> ClassifierLoss:
        """-log sum_i p_i T_iy."""
        return _Forward(matrix.log())


class _Forward(ClassifierLoss):
    def __init__(self, log_matrix: Tensor) -> None:
        self.log_matrix = log_matrix

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ForwardCorrection`."""
        columns = self.log_matrix.to(logits.dtype).T[labels]
        return -torch.logsumexp(logits.log_softmax(1) + columns, dim=1)


@component("classifier_loss/backward_correction@1")
@dataclass(frozen=True)
class BackwardCorrection(CorrectedLoss):
    """sum_k (T^-1)_yk (-log p_k), whose mean over the noise is -log p of the class (1609.03683, theorem 1)."""

    def with_matrix(self, matrix: Tensor) -> ClassifierLoss:
        """The losses of all labels, weighted by a row of the inverse."""
        regular = float(torch.linalg.cond(matrix)) < 1e6
        require(regular, "transition", "T", "a matrix that has an inverse; take recipe.criterion=forward")
        return _Backward(torch.linalg.inv(matrix))


class _Backward(ClassifierLoss):
    def __init__(self, inverse: Tensor) -> None:
        self.inverse = inverse

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `BackwardCorrection`."""
        return -(self.inverse.to(logits.dtype)[labels] * logits.log_softmax(1)).sum(1)


@component("classifier_loss/early_learning@1")
@dataclass(frozen=True)
class EarlyLearning(ClassifierLoss):
    """Early-learning regularisation: -log p_y + lambda log(1 - <p, t>) (Liu et al. 2020, 2007.00151, section 4).

    t is the moving average, for each labelled image, of C's probabilities: t <- beta t + (1 - beta) p, from 0, with
    the p of this step, which takes no gradient there (`trigan.training.stages.label_memory`). As in the authors' code
    p is cut to [1e-4, 1 - 1e-4] in both places, and adds up to 1 again in t. ``weight`` is lambda, ``momentum`` is
    beta: 3 and 0.7 are their values for CIFAR-10, 7 and 0.9 for CIFAR-100.
    """

    weight: float = 3.0
    momentum: float = 0.7

    def __post_init__(self) -> None:
        require(self.weight >= 0, "weight", self.weight, "0 or more")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """The first part."""
        return F.cross_entropy(logits, labels, reduction="none")

    def target_term(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The second part, (N,), with t (N, K)."""
        return self.weight * torch.log1p(-(clipped_probabilities(logits) * targets).sum(1))


def clipped_probabilities(logits: Tensor) -> Tensor:
    """Softmax of the logits (N, K), cut to [1e-4, 1 - 1e-4]."""
    return logits.softmax(1).clamp(1e-4, 1.0 - 1e-4)

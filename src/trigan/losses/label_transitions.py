"""The matrix T of label noise, T_ij = P(label j is seen | the class is i): given, or estimated from a first fit."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component


class ClassNoise(Protocol):
    """A noise of labels that depends on the class alone, such as `trigan.datasets.splits.label_noise.PairNoise`."""

    def transition(self, classes: int) -> Sequence[Sequence[float]]:
        """T, K rows of K numbers."""


class Transition(ABC):
    """Base of the ways to know T: frozen dataclasses."""

    @abstractmethod
    def matrix(self, classes: int) -> Tensor | None:
        """T, float64 (K, K); None where labels are taken as they are."""


@component("transition/none@1")
@dataclass(frozen=True)
class NoTransition(Transition):
    """Labels are taken as they are."""

    def matrix(self, classes: int) -> Tensor | None:
        """None."""
        return None


@component("transition/known@1")
@dataclass(frozen=True)
class KnownTransition(Transition):
    """The true T, that of the regime's ``noise``. No method has it in practice: rows have the stamp ``knows-T``."""

    noise: ClassNoise | None

    def __post_init__(self) -> None:
        expected = "the noise of the regime; set regime.noise=symmetric, pair or matrix, or take the estimated matrix"
        require(self.noise is not None, "noise", "null", expected)

    def matrix(self, classes: int) -> Tensor:
        """T, float64 (K, K)."""
        assert self.noise is not None
        return torch.tensor(self.noise.transition(classes), dtype=torch.float64)


@component("transition/estimated@1")
@dataclass(frozen=True)
class EstimatedTransition(Transition):
    """T from the predictions of a first fit at one image of each class, its anchor point (`anchor_point_matrix`).

    Attributes:
        percentile: the anchor of class i is the image at this percentile of p_i, above 0 to 100: 100 is the paper's
            eq. 12, the largest; its experiments take 97 where classes have few images.
        values: the estimate, K rows of K numbers, which a strategy fills in.
    """

    percentile: float = 100.0
    values: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        require(0 < self.percentile <= 100, "percentile", self.percentile, "above 0 and at most 100")

    def matrix(self, classes: int) -> Tensor:
        """T, float64 (K, K)."""
        expected = "one of strategy=baseline, augment or joint, which have a first fit; or set transition=known"
        require(self.values is not None, "transition", "estimated", expected)
        return torch.tensor(self.values, dtype=torch.float64)


def anchor_point_matrix(probabilities: Tensor, percentile: float = 100.0) -> Tensor:
    """T by anchor points: T_ij = p_j(x^i), x^i = argmax_x p_i(x) (Patrini et al. 2017, 1609.03683, eq. 12 and 13).

    Args:
        probabilities: p(x), the predictions of a network that was fitted to noisy labels, (N, K).
        percentile: of p_i at which x^i is taken, in place of the largest.

    Returns:
        T, (K, K), with rows that add up to 1.

    Example:
        >>> anchor_point_matrix(torch.tensor([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5]]))
        tensor([[0.8000, 0.2000],
                [0.3000, 0.7000]])
    """
    place = int(percentile / 100.0 * (len(probabilities) - 1))
    anchors = probabilities.argsort(dim=0, stable=True)[place]
    return probabilities[anchors] / probabilities[anchors].sum(1, keepdim=True)

"""Losses of C where classes have unequal numbers of labels. Notation as in `trigan.losses.classifier_losses`."""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.losses.classifier_losses import ClassifierLoss


@component("classifier_loss/focal@1")
@dataclass(frozen=True)
class Focal(ClassifierLoss):
    """-(1 - p_y)^gamma log p_y (Lin et al. 2017, 1708.02002, eq. 4, with the softmax in place of the sigmoid).

    Attributes:
        gamma: 0: cross-entropy; the larger, the less do images count that are already classified well.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        require(self.gamma >= 0.0, "gamma", self.gamma, "0 or more")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        log_p = -F.cross_entropy(logits, labels, reduction="none")
        # the bound is for gamma below 1, whose power has no finite derivative at p_y = 1
        others = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
        return -(others**self.gamma) * log_p


@component("classifier_loss/logit_adjusted@1")
@dataclass(frozen=True)
class LogitAdjusted(ClassifierLoss):
    """Cross-entropy of l_k + tau log pi_k, pi_k = n_k / N (Menon et al. 2020, 2007.07314, eq. 10).

    With tau 1 it is the balanced softmax of Ren et al. 2020 (2007.10740, theorem 1). Predictions use l alone.

    Attributes:
        tau: 0: cross-entropy; 1: consistent for the balanced error.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        require(self.tau >= 0.0, "tau", self.tau, "0 or more")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`; a class without labels has probability 0."""
        prior = counts.to(logits.dtype) / counts.sum()
        # xlogy: tau 0 leaves a class without labels as it is
        return F.cross_entropy(logits + torch.xlogy(self.tau, prior), labels, reduction="none")


class ScaledCosines(Protocol):
    """What builds a network whose logits are ``scale`` times cosines: `trigan.networks.classifiers.cosine_head`."""

    @property
    def scale(self) -> float:
        """S."""


@component("classifier_loss/ldam@1")
@dataclass(frozen=True)
class LDAM(ClassifierLoss):
    """Cross-entropy with the label's logit lowered by s Delta_y (Cao et al. 2019, 1906.07413, section 3.2).

    Delta_k = ``margin`` (n_min / n_k)^(1/4), so that the rarest class has the largest margin. As in the authors'
    code, l are s times the cosines of a head with normalised weights and inputs.

    Attributes:
        network: of C, with that head.
        margin: Delta of the rarest class, in cosines.
    """

    network: ScaledCosines
    margin: float = 0.5

    def __post_init__(self) -> None:
        require(0.0 <= self.margin <= 2.0, "margin", self.margin, "in [0, 2], a difference of cosines")

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        least = torch.where(counts > 0, counts, counts.max()).min()
        margins = self.margin * (least / counts.clamp_min(1).to(logits.dtype)) ** 0.25
        lowered = F.one_hot(labels, logits.shape[1]) * (self.network.scale * margins)
        return F.cross_entropy(logits - lowered, labels, reduction="none")

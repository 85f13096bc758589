"""Losses of C on labelled images, as configurable objects: one value for each image.

Notation: l are C's logits (N, K), p = softmax l, y the labels (N,), n_k the number of labels of class k.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.component_ids import component


class ClassifierLoss(ABC):
    """Base of C's losses on labelled images: frozen dataclasses.

    One with a ``momentum`` has a second part, `target_term`, with a moving average of C's probabilities of each image.
    """

    momentum: float | None = None

    def for_data(self, classes: int, device: torch.device) -> "ClassifierLoss":
        """The loss with what it needs of the data, such as a matrix of K classes; by default as it is."""
        return self

    def target_term(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The second part, (N,), for averages (N, K); by default 0."""
        return torch.zeros_like(targets[:, 0])

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """The loss of each image, (N,).

        Args:
            logits: l, (N, K).
            labels: y, int64 (N,).
            counts: n, the labels of each class in L, int64 (K,).
        """


@component("classifier_loss/cross_entropy@1")
@dataclass(frozen=True)
class CrossEntropy(ClassifierLoss):
    """-log p_y."""

    def __call__(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """See `ClassifierLoss`."""
        return F.cross_entropy(logits, labels, reduction="none")

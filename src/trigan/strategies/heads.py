"""Heads: a fitted probe as a network, features (N, F) -> logits (N, K), which can be saved and loaded."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: The logit of a class without training images.
UNSEEN_CLASS_LOGIT = -1e4


class LinearHead(nn.Module):
    """(W x + b) / T."""

    temperature: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        self.register_buffer("temperature", torch.ones(()))

    @classmethod
    def of(cls, model: Any, classes: int, temperature: float) -> "LinearHead":
        """The head of a fitted scikit-learn linear model, which may have one decision value for two classes."""
        weight, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
        if len(model.classes_) == 2 and len(weight) == 1:
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        return cls(weight.shape[1], classes)._filled(model.classes_, weight, bias, temperature)

    def _filled(self, seen: Labels, weight: Array, bias: Array, temperature: float) -> Self:
        """Set the rows of the ``seen`` classes; all other classes get very small logits."""
        self.requires_grad_(False)
        self.linear.weight.zero_()
        self.linear.bias.fill_(UNSEEN_CLASS_LOGIT)
        self.linear.weight[seen] = torch.from_numpy(weight).float()
        self.linear.bias[seen] = torch.from_numpy(bias).float()
        self.temperature.fill_(temperature)
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, F)."""
        logits: Tensor = self.linear(features)
        return logits / self.temperature


class MLPHead(LinearHead):
    """(W2 relu(W1 x + b1) + b2) / T: one hidden layer."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__(hidden, classes)
        self.hidden = nn.Linear(features, hidden)

    @classmethod
    def of(cls, model: Any, classes: int, temperature: float) -> "MLPHead":
        """The head of a fitted scikit-learn perceptron, which has one logit for two classes, that of the second."""
        (inner, outer), (inner_bias, bias) = model.coefs_, model.intercepts_
        weight = outer.T
        if len(model.classes_) == 2 and len(weight) == 1:
            weight, bias = np.concatenate([0.0 * weight, weight]), np.concatenate([0.0 * bias, bias])
        head = cls(inner.shape[0], inner.shape[1], classes)._filled(model.classes_, weight, bias, temperature)
        head.hidden.weight.copy_(torch.from_numpy(inner.T))
        head.hidden.bias.copy_(torch.from_numpy(inner_bias))
        return head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, F)."""
        return super().forward(self.hidden(features).relu())


class NearestNeighboursHead(nn.Module):
    """log((votes + 1 / 2K) / (k + 1 / 2)) / T, from the votes of the k nearest ``kept`` features."""

    kept: Tensor
    votes: Tensor
    k: Tensor
    temperature: Tensor

    def __init__(self, kept: int, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(kept, features))
        self.register_buffer("votes", torch.zeros(kept, classes))
        self.register_buffer("k", torch.tensor(1))
        self.register_buffer("temperature", torch.ones(()))

    @classmethod
    def of(cls, features: Array, labels: Labels, classes: int, k: int) -> "NearestNeighboursHead":
        """The head of the labelled ``features`` (N, F), with ``labels`` (N,)."""
        head = cls(len(features), features.shape[1], classes)
        head.kept.copy_(torch.from_numpy(features).float())
        head.votes.copy_(nn.functional.one_hot(torch.from_numpy(labels), classes).float())
        head.k.fill_(k)
        return head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, F)."""
        k, classes = int(self.k), self.votes.shape[1]
        nearest = torch.cdist(features, self.kept).topk(k, largest=False).indices
        shares = (self.votes[nearest].sum(1) + 0.5 / classes) / (k + 0.5)
        return shares.log() / self.temperature


def head_skeleton(saved: Mapping[str, tuple[int, ...]], classes: int) -> "LinearHead | NearestNeighboursHead":
    """A head to load weights into, given the shapes of all tensors of the saved probed network."""
    if "head.kept" in saved:
        kept, features = saved["head.kept"]
        return NearestNeighboursHead(kept, features, classes)
    if "head.hidden.weight" in saved:
        hidden, features = saved["head.hidden.weight"]
        return MLPHead(features, hidden, classes)
    return LinearHead(saved["mean"][0], classes)

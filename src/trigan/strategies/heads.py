"""Heads: what a fitted probe is as a network, features (N, F) -> logits (N, K), so that it can be kept and loaded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: The logit of a class that a probe has not met.
UNSEEN_CLASS_LOGIT = -1e4


class LinearHead(nn.Module):
    """features (N, F) -> (features W' + b) / T."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        self.register_buffer("temperature", torch.ones(()))
        self.temperature: Tensor

    @classmethod
    def of(cls, model: Any, classes: int, temperature: float) -> "LinearHead":
        """From a fitted scikit-learn linear model; classes that it has not met get very small logits."""
        coefficients, intercepts = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
        if len(model.classes_) == 2 and len(coefficients) == 1:
            coefficients = np.concatenate([-coefficients, coefficients])
            intercepts = np.concatenate([-intercepts, intercepts])
        head = cls(coefficients.shape[1], classes)
        with torch.no_grad():
            head.linear.weight.zero_()
            head.linear.bias.fill_(UNSEEN_CLASS_LOGIT)
            head.linear.weight[model.classes_] = torch.from_numpy(coefficients).float()
            head.linear.bias[model.classes_] = torch.from_numpy(intercepts).float()
        head.temperature.fill_(temperature)
        return head.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features) / self.temperature


class MLPHead(nn.Module):
    """features (N, F) -> (W2 relu(W1 x + b1) + b2) / T: one hidden layer."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.hidden, self.linear = nn.Linear(features, hidden), nn.Linear(hidden, classes)
        self.register_buffer("temperature", torch.ones(()))
        self.temperature: Tensor

    @classmethod
    def of(cls, model: Any, classes: int, temperature: float) -> "MLPHead":
        """From a fitted scikit-learn perceptron; classes that it has not met get very small logits.

        For two classes scikit-learn has a single logit, of the second: the first class's is 0 then.
        """
        (inner, outer), (inner_bias, outer_bias) = model.coefs_, model.intercepts_
        head = cls(inner.shape[0], inner.shape[1], classes)
        met = model.classes_ if outer.shape[1] > 1 else model.classes_[1:]
        with torch.no_grad():
            head.hidden.weight.copy_(torch.from_numpy(inner.T))
            head.hidden.bias.copy_(torch.from_numpy(inner_bias))
            head.linear.weight.zero_()
            head.linear.bias.fill_(UNSEEN_CLASS_LOGIT)
            head.linear.bias[model.classes_] = 0.0
            head.linear.weight[met] = torch.from_numpy(outer.T).float()
            head.linear.bias[met] = torch.from_numpy(outer_bias).float()
        head.temperature.fill_(temperature)
        return head.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.hidden(features).relu())
        return logits / self.temperature


class NearestNeighboursHead(nn.Module):
    """features (N, F) -> log vote shares of the nearest kept features, over the temperature."""

    def __init__(self, kept: int, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(kept, features))
        self.register_buffer("votes", torch.zeros(kept, classes))
        self.register_buffer("k", torch.tensor(1))
        self.register_buffer("temperature", torch.ones(()))
        self.kept: Tensor
        self.votes: Tensor
        self.k: Tensor
        self.temperature: Tensor

    @classmethod
    def of(cls, features: Array, labels: Labels, classes: int, k: int) -> "NearestNeighboursHead":
        head = cls(len(features), features.shape[1], classes)
        head.kept.copy_(torch.from_numpy(features).float())
        head.votes.copy_(nn.functional.one_hot(torch.from_numpy(labels), classes).float())
        head.k.fill_(k)
        return head

    def forward(self, features: Tensor) -> Tensor:
        k, classes = int(self.k), self.votes.shape[1]
        nearest = torch.cdist(features, self.kept).topk(k, largest=False).indices
        shares = (self.votes[nearest].sum(1) + 0.5 / classes) / (k + 0.5)
        return shares.log() / self.temperature


def head_skeleton(saved: Mapping[str, tuple[int, ...]], classes: int) -> nn.Module:
    """A head to load a probe's weights into; ``saved`` are the shapes of the whole probed network's tensors."""
    if "head.kept" in saved:
        kept, features = saved["head.kept"]
        return NearestNeighboursHead(kept, features, classes)
    if "head.hidden.weight" in saved:
        hidden, features = saved["head.hidden.weight"]
        return MLPHead(features, hidden, classes)
    return LinearHead(saved["mean"][0], classes)

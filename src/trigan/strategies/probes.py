"""Probes: what is fitted to fixed features. Each gives a head, features (N, F) -> logits (N, K), with a temperature.

Hyperparameters and temperatures are chosen on the validation images where a row may use them (its labels then count),
else by cross-validation within the labelled images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.evaluation.calibration import fit_temperature

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: Features and labels of the images to choose on.
Holdout = tuple[Array, Labels]


@dataclass(frozen=True)
class Fitted:
    """``head`` gives logits; ``probabilistic``: their softmax is calibrated; ``chosen`` goes into the record."""

    head: nn.Module
    probabilistic: bool
    chosen: dict[str, Any]


class Probe(Protocol):
    """Fitted to standardised features (N, F) with labels (N,) of K classes, chosen on ``holdout`` or by folds."""

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> Fitted: ...


@dataclass(frozen=True)
class LinearSVM:
    """L2-regularised linear SVM (squared hinge, one class against the rest), as in Radford et al. 2015, section 5."""

    penalties: tuple[float, ...] = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.penalties, "penalties", self.folds)

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None) -> Fitted:
        def make(penalty: float) -> LinearSVC:
            return LinearSVC(C=penalty, dual=True, random_state=seed % 2**32, max_iter=5000)

        return _fit_linear(make, self.penalties, _Judge(features, labels, self.folds, seed, holdout), classes)


@dataclass(frozen=True)
class LogisticRegression:
    """L2-regularised multinomial logistic regression."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.penalties, "penalties", self.folds)

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None) -> Fitted:
        def make(penalty: float) -> SklearnLogistic:
            return SklearnLogistic(C=penalty, max_iter=500)

        return _fit_linear(make, self.penalties, _Judge(features, labels, self.folds, seed, holdout), classes)


@dataclass(frozen=True)
class NearestNeighbours:
    """k nearest neighbours, Euclidean; logits are logarithms of vote shares, half a vote spread over all."""

    neighbours: tuple[int, ...] = (1, 3, 5, 9)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.neighbours, "neighbours", self.folds)

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None) -> Fitted:
        judge = _Judge(features, labels, self.folds, seed, holdout)
        if not judge.can_choose:
            k = min(self.neighbours[0], len(features))
            return Fitted(NeighboursHead.of(features, labels, classes, k), False, {"k": k})
        scores = {}
        for k in sorted({min(k, judge.smallest_fit) for k in self.neighbours}):
            votes, truth = judge.outputs(KNeighborsClassifier(k), "predict_proba")
            scores[k] = (_accuracy(votes, truth, labels), votes, truth)
        best = max(scores, key=lambda k: (scores[k][0], -k))
        _, votes, truth = scores[best]
        head = NeighboursHead.of(features, labels, classes, best)
        temperature = fit_temperature(_spread(votes, labels, classes, best), torch.from_numpy(truth))
        head.temperature.fill_(temperature)
        return Fitted(head, True, {"k": best, "temperature": temperature})


def _check(values: Sequence[float], name: str, folds: int) -> None:
    if not values or min(values) <= 0 or folds < 2:
        raise ConfigError(
            f"strategy.probe.{name}: {list(values)} must be one or more numbers above 0, and folds {folds} at least 2"
        )


class _Judge:
    """What models say of images that they were not fitted on: those of the holdout, or each fold in turn."""

    def __init__(self, features: Array, labels: Labels, folds: int, seed: int, holdout: Holdout | None) -> None:
        self.features, self.labels, self._holdout = features, labels, holdout
        self._folds = None if holdout is not None else _folds(labels, folds, seed)

    @property
    def can_choose(self) -> bool:
        """False where there is no holdout, and a class has a single image."""
        return self._holdout is not None or self._folds is not None

    @property
    def smallest_fit(self) -> int:
        """The fewest images that a model is fitted to."""
        if self._folds is None:
            return len(self.labels)
        return min(len(train) for train, _ in self._folds.split(self.features, self.labels))

    def outputs(self, model: Any, method: str) -> tuple[Array, Labels]:
        """``model``'s outputs (N, classes that occur) and the true labels (N,)."""
        if self._holdout is not None:
            features, truth = self._holdout
            return getattr(model.fit(self.features, self.labels), method)(features), truth
        return cross_val_predict(model, self.features, self.labels, cv=self._folds, method=method), self.labels


def _fit_linear(make: Callable[[float], Any], penalties: tuple[float, ...], judge: _Judge, classes: int) -> Fitted:
    features, labels = judge.features, judge.labels
    if not judge.can_choose:
        middle = penalties[len(penalties) // 2]
        return Fitted(LinearHead.of(make(middle).fit(features, labels), classes, 1.0), False, {"penalty": middle})
    scores = {}
    for penalty in penalties:
        decisions, truth = judge.outputs(make(penalty), "decision_function")
        decisions = _two_sided(decisions)
        scores[penalty] = (_accuracy(decisions, truth, labels), decisions, truth)
    best = max(scores, key=lambda penalty: (scores[penalty][0], -penalty))
    _, decisions, truth = scores[best]
    logits = np.full((len(truth), classes), -1e4)
    logits[:, np.unique(labels)] = decisions
    temperature = fit_temperature(torch.from_numpy(logits), torch.from_numpy(truth))
    head = LinearHead.of(make(best).fit(features, labels), classes, temperature)
    return Fitted(head, True, {"penalty": best, "temperature": temperature})


def _accuracy(outputs: Array, truth: Labels, fitted: Labels) -> float:
    """Of outputs for the classes that were fitted, in order."""
    return float(np.mean(np.unique(fitted)[outputs.argmax(1)] == truth))


def _folds(labels: Labels, count: int, seed: int) -> StratifiedKFold | None:
    """Stratified folds, fewer where a class is small; None where a class has a single image."""
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    if smallest < 2:
        return None
    return StratifiedKFold(min(count, smallest), shuffle=True, random_state=seed % 2**32)


def _two_sided(decisions: Array) -> Array:
    """Decision values as (N, K), also where scikit-learn gives one column for two classes."""
    return decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], axis=1)


def _spread(votes: Array, labels: Labels, classes: int, k: int) -> Tensor:
    full = np.zeros((len(votes), classes))
    full[:, np.unique(labels)] = votes
    return torch.from_numpy(np.log((full * k + 0.5 / classes) / (k + 0.5)))


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
            head.linear.bias.fill_(-1e4)
            head.linear.weight[model.classes_] = torch.from_numpy(coefficients).float()
            head.linear.bias[model.classes_] = torch.from_numpy(intercepts).float()
        head.temperature.fill_(temperature)
        return head.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features) / self.temperature


class NeighboursHead(nn.Module):
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
    def of(cls, features: Array, labels: Labels, classes: int, k: int) -> "NeighboursHead":
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

"""Probes: classifiers fitted to fixed features; and their heads, networks from features (N, F) to logits (N, K).

The hyperparameter and the temperature are chosen on validation images if the row may use them (their labels then
count as V), else by cross-validation on the labelled images.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from trigan.checks import require, require_settings
from trigan.component_ids import component
from trigan.evaluation.calibration import fit_temperature

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
#: The logit of a class without training images.
UNSEEN_CLASS_LOGIT = -1e4
#: Largest batch of the perceptron, in images.
_BATCH = 64
#: Features and labels of the validation images, where there are any.
Holdout = tuple[Array, Labels] | None


class LinearHead(nn.Module):
    """(W x + b) / T."""

    temperature: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        self.register_buffer("temperature", torch.ones(()))

    @classmethod
    def of(cls, model: Any, classes: int) -> "LinearHead":
        """The head of a fitted scikit-learn linear model; two classes share one decision value there."""
        head = cls(model.coef_.shape[1], classes)
        return head._filled(model.classes_, model.coef_, model.intercept_, first_of_two=-1.0)

    def _filled(self, seen: Labels, weight: Array, bias: Array, first_of_two: float) -> Self:
        """Set the rows of the ``seen`` classes; all other classes get very small logits.

        Where two classes share one row, it is that of the second; the first has ``first_of_two`` times it.
        """
        if len(weight) < len(seen):
            weight, bias = (np.concatenate([first_of_two * row, row]) for row in (weight, bias))
        self.requires_grad_(False)
        self.linear.weight.zero_()
        self.linear.bias.fill_(UNSEEN_CLASS_LOGIT)
        self.linear.weight[seen] = torch.from_numpy(weight).float()
        self.linear.bias[seen] = torch.from_numpy(bias).float()
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
    def of(cls, model: Any, classes: int) -> "MLPHead":
        """The head of a fitted scikit-learn perceptron; two classes have one logit there, of the second class."""
        (inner, outer), (inner_bias, bias) = model.coefs_, model.intercepts_
        head = cls(len(inner), len(inner_bias), classes)._filled(model.classes_, outer.T, bias, first_of_two=0.0)
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


def head_skeleton(saved: Mapping[str, tuple[int, ...]], classes: int) -> LinearHead | NearestNeighboursHead:
    """A head to load weights into, given the shapes of all tensors of the saved probed network."""
    if "head.kept" in saved:
        kept, features = saved["head.kept"]
        return NearestNeighboursHead(kept, features, classes)
    if "head.hidden.weight" in saved:
        hidden, features = saved["head.hidden.weight"]
        return MLPHead(features, hidden, classes)
    return LinearHead(saved["mean"][0], classes)


@dataclass(frozen=True)
class FittedProbe:
    """``head`` gives logits; ``probabilistic``: their softmax is calibrated; ``hyperparameters`` go into the record."""

    head: nn.Module
    probabilistic: bool
    hyperparameters: dict[str, Any]


class Probe(Protocol):
    """A classifier on fixed features, as a frozen dataclass."""

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout = None) -> FittedProbe:
        """Fit the probe to standardised ``features`` (N, F) with ``labels`` (N,), in [0, ``classes``).

        ``seed`` is for the folds and the model; hyperparameters are chosen on ``holdout``, else by cross-validation.
        """


class _TunedProbe:
    """A scikit-learn model whose one hyperparameter is chosen by accuracy on images that it was not fitted to.

    Of values with equal accuracy, that with the largest ``_strictness`` times value is chosen. The class attributes are
    those of models with a penalty.
    """

    penalties: tuple[float, ...]
    folds: int

    _setting, _parameter, _method, _strictness = "penalties", "penalty", "decision_function", -1

    def __post_init__(self) -> None:
        values: Sequence[float] = getattr(self, self._setting)
        in_range = bool(values) and min(values) > 0 and self.folds >= 2
        expected = f"one or more numbers above 0, and folds {self.folds} at least 2"
        require(in_range, f"strategy.probe.{self._setting}", list(values), expected)

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout = None) -> FittedProbe:
        """See `Probe.fit`; if a class has a single image and there is no holdout, it uses a default value."""
        folds = None if holdout is not None else _folds(labels, self.folds, seed)
        if holdout is None and folds is None:
            value = self._default(len(labels))
            return FittedProbe(self._head(value, features, labels, classes, seed), False, {self._parameter: value})
        scores, seen = {}, np.unique(labels)
        for value in self._values(labels, folds):
            model = self._model(value, seed, len(labels))
            if holdout is None:
                outputs, truth = cross_val_predict(model, features, labels, cv=folds, method=self._method), labels
            else:
                outputs, truth = getattr(model.fit(features, labels), self._method)(holdout[0]), holdout[1]
            if outputs.ndim == 1:  # scikit-learn's single column for two classes
                outputs = np.stack([-outputs, outputs], axis=1)
            scores[value] = (float(np.mean(seen[outputs.argmax(1)] == truth)), outputs, truth)
        best = max(scores, key=lambda value: (scores[value][0], self._strictness * value))
        _, outputs, truth = scores[best]
        logits = torch.from_numpy(self._logits(outputs, seen, classes, best))
        temperature = fit_temperature(logits, torch.from_numpy(truth))
        head = self._head(best, features, labels, classes, seed)
        head.temperature.fill_(temperature)
        return FittedProbe(head, True, {self._parameter: best, "temperature": temperature})

    def _values(self, labels: Labels, folds: StratifiedKFold | None) -> Sequence[float]:
        return self.penalties

    def _default(self, images: int) -> float:
        return self.penalties[len(self.penalties) // 2]

    def _model(self, value: float, seed: int, images: int) -> Any:
        """An unfitted scikit-learn model; ``images`` is the number of all labelled images."""

    def _logits(self, outputs: Array, seen: Labels, classes: int, value: float) -> Array:
        """Logits (N, K) of outputs (N, number of ``seen`` classes)."""
        logits = np.full((len(outputs), classes), UNSEEN_CLASS_LOGIT)
        logits[:, seen] = outputs
        return logits

    def _head(self, value: float, features: Array, labels: Labels, classes: int, seed: int) -> Any:
        """The head of the model fitted to all labelled images."""
        model = self._model(value, seed, len(labels)).fit(features, labels)
        return (MLPHead if isinstance(model, MLPClassifier) else LinearHead).of(model, classes)


@component("probe/svm@1")
@dataclass(frozen=True)
class LinearSVM(_TunedProbe):
    """L2-regularised linear SVM (squared hinge, one class against the rest), as in Radford et al. 2015, section 5.

    ``penalties`` are scikit-learn's C: the smallest regularises most.
    """

    penalties: tuple[float, ...] = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def _model(self, value: float, seed: int, images: int) -> LinearSVC:
        return LinearSVC(C=value, dual=True, random_state=seed % 2**32, max_iter=5000)


@component("probe/logistic_regression@1")
@dataclass(frozen=True)
class LogisticRegression(_TunedProbe):
    """L2-regularised multinomial logistic regression; ``penalties`` are scikit-learn's C, as for the SVM."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def _model(self, value: float, seed: int, images: int) -> SklearnLogistic:
        return SklearnLogistic(C=value, max_iter=500)


@component("probe/mlp@1")
@dataclass(frozen=True)
class MLPProbe(_TunedProbe):
    """One hidden layer of ``hidden`` ReLU units and a softmax, fitted by scikit-learn: Adam, batches of at most 64.

    Training takes ``steps`` batches, rounded up to whole epochs, or stops when the loss no longer falls. ``penalties``
    are weight decays: the loss of a batch of B is its mean cross-entropy plus penalty / (2 B) of the squared weights.
    """

    hidden: int = 128
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)
    steps: int = 100
    learning_rate: float = 3e-3
    folds: int = 5

    _method, _strictness = "predict_log_proba", 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_settings(self, "hidden steps", 1, "strategy.probe.")
        require(self.learning_rate > 0.0, "strategy.probe.learning_rate", self.learning_rate, "above 0")

    def fit(self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout = None) -> FittedProbe:
        """See `Probe.fit`; uses one thread, so that sums are always in the same order."""
        with threadpool_limits(limits=1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # expected: the number of steps is fixed
            warnings.filterwarnings("ignore", "Got `batch_size`")  # expected: a fold may have fewer images
            return super().fit(features, labels, classes, seed, holdout)

    def _model(self, value: float, seed: int, images: int) -> MLPClassifier:
        batch = min(_BATCH, images)
        epochs = math.ceil(self.steps / math.ceil(images / batch))
        settings = {"batch_size": batch, "max_iter": epochs, "random_state": seed % 2**32}
        return MLPClassifier((self.hidden,), alpha=value, learning_rate_init=self.learning_rate, **settings)


@component("probe/nearest_neighbours@1")
@dataclass(frozen=True)
class NearestNeighbours(_TunedProbe):
    """k nearest neighbours, Euclidean; logits are logarithms of smoothed vote shares."""

    neighbours: tuple[int, ...] = (1, 3, 5, 9)
    folds: int = 5

    _setting, _parameter, _method = "neighbours", "k", "predict_proba"

    def _values(self, labels: Labels, folds: StratifiedKFold | None) -> Sequence[int]:
        fitted = [len(labels)] if folds is None else [len(train) for train, _ in folds.split(labels, labels)]
        return sorted({min(k, *fitted) for k in self.neighbours})

    def _default(self, images: int) -> int:
        return min(self.neighbours[0], images)

    def _model(self, value: float, seed: int, images: int) -> KNeighborsClassifier:
        return KNeighborsClassifier(value)

    def _logits(self, outputs: Array, seen: Labels, classes: int, value: float) -> Array:
        shares = np.zeros((len(outputs), classes))
        shares[:, seen] = outputs
        logits: Array = np.log((shares * value + 0.5 / classes) / (value + 0.5))
        return logits

    def _head(self, value: float, features: Array, labels: Labels, classes: int, seed: int) -> NearestNeighboursHead:
        return NearestNeighboursHead.of(features, labels, classes, int(value))


def _folds(labels: Labels, count: int, seed: int) -> StratifiedKFold | None:
    """``count`` stratified folds, or fewer if a class is small; None if a class has a single image."""
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    if smallest < 2:
        return None
    return StratifiedKFold(min(count, smallest), shuffle=True, random_state=seed % 2**32)

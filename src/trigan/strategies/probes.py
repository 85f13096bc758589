"""Probes: what is fitted to fixed features. Each gives a head, features (N, F) -> logits (N, K), with a temperature.

Hyperparameters and temperatures are chosen on the validation images where a row may use them (its labels then count),
else by cross-validation within the labelled images.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from trigan.components import component
from trigan.errors import ConfigError
from trigan.evaluation.calibration import fit_temperature
from trigan.strategies.heads import UNSEEN_CLASS_LOGIT, Array, Labels, LinearHead, MLPHead, NearestNeighboursHead

#: Images in a batch of the perceptron, at the most.
_BATCH = 64
#: Features and labels of the images to choose on.
Holdout = tuple[Array, Labels]


@dataclass(frozen=True)
class FittedProbe:
    """``head`` gives logits; ``probabilistic``: their softmax is calibrated; ``hyperparameters`` goes into the record."""

    head: nn.Module
    probabilistic: bool
    hyperparameters: dict[str, Any]


class Probe(Protocol):
    """Fitted to standardised features (N, F) with labels (N,) of K classes, chosen on ``holdout`` or by folds."""

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> FittedProbe: ...


@component("probe/svm@1")
@dataclass(frozen=True)
class LinearSVM:
    """L2-regularised linear SVM (squared hinge, one class against the rest), as in Radford et al. 2015, section 5."""

    penalties: tuple[float, ...] = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.penalties, "penalties", self.folds)

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> FittedProbe:
        def make(penalty: float) -> LinearSVC:
            return LinearSVC(C=penalty, dual=True, random_state=seed % 2**32, max_iter=5000)

        model = _Penalised(make, LinearHead.of, _falling(self.penalties))
        return model.fit(self.penalties, _Judge(features, labels, self.folds, seed, holdout), classes)


@component("probe/logistic_regression@1")
@dataclass(frozen=True)
class LogisticRegression:
    """L2-regularised multinomial logistic regression."""

    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.penalties, "penalties", self.folds)

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> FittedProbe:
        def make(penalty: float) -> SklearnLogistic:
            return SklearnLogistic(C=penalty, max_iter=500)

        model = _Penalised(make, LinearHead.of, _falling(self.penalties))
        return model.fit(self.penalties, _Judge(features, labels, self.folds, seed, holdout), classes)


@component("probe/mlp@1")
@dataclass(frozen=True)
class MLPProbe:
    """One hidden layer of ``hidden`` ReLU units and a softmax, fitted by scikit-learn: Adam, batches of 64 at the most.

    It lasts ``steps`` batches, rounded up to whole epochs, or fewer where the loss has come to rest. ``penalties`` are
    weight decays: the loss of a batch of B is its mean cross-entropy plus penalty / (2 B) of the squared weights.
    """

    hidden: int = 128
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)
    steps: int = 100
    learning_rate: float = 3e-3
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.penalties, "penalties", self.folds)
        for name in ("hidden", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"strategy.probe.{name}: {getattr(self, name)} must be at least 1")
        if self.learning_rate <= 0.0:
            raise ConfigError(f"strategy.probe.learning_rate: {self.learning_rate} must be above 0")

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> FittedProbe:
        judge = _Judge(features, labels, self.folds, seed, holdout)
        batch = min(_BATCH, len(labels))
        epochs = math.ceil(self.steps / math.ceil(len(labels) / batch))

        def make(penalty: float) -> MLPClassifier:
            given = {"batch_size": batch, "max_iter": epochs, "random_state": seed % 2**32}
            return MLPClassifier((self.hidden,), alpha=penalty, learning_rate_init=self.learning_rate, **given)

        model = _Penalised(make, MLPHead.of, tuple(sorted(self.penalties)), "predict_log_proba")
        with threadpool_limits(limits=1), warnings.catch_warnings():  # on one thread, sums have one order
            warnings.simplefilter("ignore", ConvergenceWarning)  # it ends when its steps are done
            warnings.filterwarnings("ignore", "Got `batch_size`")  # a fold may have fewer images
            return model.fit(self.penalties, judge, classes)


@component("probe/nearest_neighbours@1")
@dataclass(frozen=True)
class NearestNeighbours:
    """k nearest neighbours, Euclidean; logits are logarithms of vote shares, half a vote spread over all."""

    neighbours: tuple[int, ...] = (1, 3, 5, 9)
    folds: int = 5

    def __post_init__(self) -> None:
        _check(self.neighbours, "neighbours", self.folds)

    def fit(
        self, features: Array, labels: Labels, classes: int, seed: int, holdout: Holdout | None = None
    ) -> FittedProbe:
        judge = _Judge(features, labels, self.folds, seed, holdout)
        if not judge.can_choose:
            k = min(self.neighbours[0], len(features))
            return FittedProbe(NearestNeighboursHead.of(features, labels, classes, k), False, {"k": k})
        scores = {}
        for k in sorted({min(k, judge.smallest_fit) for k in self.neighbours}):
            votes, truth = judge.outputs(KNeighborsClassifier(k), "predict_proba")
            scores[k] = (_accuracy(votes, truth, labels), votes, truth)
        best = max(scores, key=lambda k: (scores[k][0], -k))
        _, votes, truth = scores[best]
        head = NearestNeighboursHead.of(features, labels, classes, best)
        temperature = fit_temperature(_spread(votes, labels, classes, best), torch.from_numpy(truth))
        head.temperature.fill_(temperature)
        return FittedProbe(head, True, {"k": best, "temperature": temperature})


def _falling(penalties: tuple[float, ...]) -> tuple[float, ...]:
    """scikit-learn's C is the inverse of a penalty: the smallest is the strictest."""
    return tuple(sorted(penalties, reverse=True))


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


@dataclass(frozen=True)
class _Penalised:
    """A scikit-learn model with a penalty: its ``outputs`` for unseen images, and the head that it becomes.

    ``order`` are the penalties from the mildest model to the strictest, which is taken where scores are equal.
    """

    make: Callable[[float], Any]
    head: Callable[[Any, int, float], nn.Module]
    order: tuple[float, ...]
    outputs: str = "decision_function"

    def fit(self, penalties: tuple[float, ...], judge: "_Judge", classes: int) -> FittedProbe:
        """Fitted to all labelled images, with the penalty that does best on those that the judge holds back."""
        features, labels = judge.features, judge.labels
        if not judge.can_choose:
            middle = penalties[len(penalties) // 2]
            return FittedProbe(
                self.head(self.make(middle).fit(features, labels), classes, 1.0), False, {"penalty": middle}
            )
        scores = {}
        for penalty in penalties:
            decisions, truth = judge.outputs(self.make(penalty), self.outputs)
            decisions = _two_sided(decisions)
            scores[penalty] = (_accuracy(decisions, truth, labels), decisions, truth)
        best = max(scores, key=lambda penalty: (scores[penalty][0], self.order.index(penalty)))
        _, decisions, truth = scores[best]
        logits = np.full((len(truth), classes), UNSEEN_CLASS_LOGIT)
        logits[:, np.unique(labels)] = decisions
        temperature = fit_temperature(torch.from_numpy(logits), torch.from_numpy(truth))
        head = self.head(self.make(best).fit(features, labels), classes, temperature)
        return FittedProbe(head, True, {"penalty": best, "temperature": temperature})


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

"""Probes against scikit-learn: the same predictions, which the temperature does not change."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from trigan.errors import ConfigError
from trigan.strategies.probes import (
    FittedProbe,
    LinearHead,
    LinearSVM,
    LogisticRegression,
    MLPHead,
    MLPProbe,
    NearestNeighbours,
    NearestNeighboursHead,
    Probe,
)

PROBES: dict[str, Probe] = {
    "svm": LinearSVM((1e-3, 1e-1), 3),
    "logistic": LogisticRegression((1e-2, 1.0), 3),
    "neighbours": NearestNeighbours((1, 3, 5), 3),
    "perceptron": MLPProbe(16, (0.1, 1.0), 60, 1e-2, 3),
}


def _data(classes: int = 10, per_class: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardised digits: (features, labels) to fit, and 300 others."""
    images, labels = load_digits(return_X_y=True)
    images = (images - images.mean(0)) / np.maximum(images.std(0), 1e-6)
    chosen = np.concatenate([np.flatnonzero(labels == k)[:per_class] for k in range(classes)])
    rest = np.setdiff1d(np.flatnonzero(labels < classes), chosen)[:300]
    return images[chosen], labels[chosen].astype(np.int64), images[rest], labels[rest].astype(np.int64)


def _logits(fitted: FittedProbe, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return fitted.head(torch.from_numpy(features).float()).double().numpy()


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_a_linear_head_is_the_decision_function(kind: str, classes: int) -> None:
    features, labels, others, _ = _data(classes)
    model = LinearSVC(C=0.01, dual=True, random_state=0) if kind == "svm" else SklearnLogistic(C=0.1, max_iter=500)
    model.fit(features, labels)
    head = LinearHead.of(model, classes)
    with torch.no_grad():
        found = head(torch.from_numpy(others).float()).numpy()
    wanted = model.decision_function(others)
    wanted = np.stack([-wanted, wanted], 1) if classes == 2 else wanted
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (found.argmax(1) == model.predict(others)).all()
    assert not any(weight.requires_grad for weight in head.parameters())


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_a_neighbours_head_predicts_as_scikit_learn_does(k: int) -> None:
    features, labels, others, _ = _data()
    head = NearestNeighboursHead.of(features, labels, 10, k)
    with torch.no_grad():
        found = head(torch.from_numpy(others).float())
    model = KNeighborsClassifier(k).fit(features, labels)
    assert (found.argmax(1).numpy() == model.predict(others)).all()
    shares = (model.predict_proba(others) * k + 0.05) / (k + 0.5)
    np.testing.assert_allclose(found.softmax(1).numpy(), shares, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_perceptron_head_is_scikit_learns_network(classes: int) -> None:
    features, labels, others, _ = _data(classes)
    model = MLPClassifier((16,), max_iter=400, tol=1e-2, random_state=0).fit(features, labels)
    head = MLPHead.of(model, classes)
    with torch.no_grad():
        found = head(torch.from_numpy(others).float()).softmax(1).numpy()
    np.testing.assert_allclose(found, model.predict_proba(others), rtol=1e-3, atol=1e-5)
    assert (found.argmax(1) == model.predict(others)).all()
    assert not any(weight.requires_grad for weight in head.parameters())


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("classes", [2, 10])
def test_fitting_chooses_by_cross_validation_and_calibrates(name: str, classes: int) -> None:
    features, labels, others, truth = _data(classes)
    fitted = PROBES[name].fit(features, labels, classes, 0)
    found = _logits(fitted, others)
    assert fitted.probabilistic
    assert found.shape == (len(others), classes)
    assert (found.argmax(1) == truth).mean() > (0.95 if classes == 2 else 0.75)
    assert fitted.hyperparameters["temperature"] > 0
    again = PROBES[name].fit(features, labels, classes, 0)
    assert again.hyperparameters == fitted.hyperparameters
    np.testing.assert_array_equal(_logits(again, others), found)


@pytest.mark.parametrize("name", PROBES)
def test_a_holdout_chooses_where_there_is_one(name: str) -> None:
    """The value that does best on it, fitted to all of the labelled images; the temperature is its too."""
    features, labels, others, truth = _data(10)
    fitted = PROBES[name].fit(features, labels, 10, 0, (others, truth))
    values, key = ("neighbours", "k") if name == "neighbours" else ("penalties", "penalty")
    alone = {
        value: _logits(replace(PROBES[name], **{values: (value,)}).fit(features, labels, 10, 0), others).argmax(1)
        for value in getattr(PROBES[name], values)
    }
    scores = {value: float((found == truth).mean()) for value, found in alone.items()}
    best = next(value for value in scores if scores[value] == max(scores.values()))
    assert fitted.hyperparameters[key] == best
    assert fitted.probabilistic
    assert (_logits(fitted, others).argmax(1) == alone[best]).all()


@pytest.mark.parametrize("name", PROBES)
def test_the_temperature_never_changes_the_prediction(name: str) -> None:
    features, labels, others, _ = _data()
    fitted = PROBES[name].fit(features, labels, 10, 0)
    found = _logits(fitted, others)
    temperature = float(fitted.head.temperature)
    assert temperature == pytest.approx(fitted.hyperparameters["temperature"])
    fitted.head.temperature.fill_(1.0)
    raw = _logits(fitted, others)
    np.testing.assert_allclose(raw, found * temperature, rtol=1e-4, atol=1e-5)
    assert (raw.argmax(1) == found.argmax(1)).all()


@pytest.mark.parametrize(("name", "strictest"), [("svm", 1e-3), ("logistic", 1e-2), ("perceptron", 1.0)])
def test_of_equal_accuracies_the_strictest_model_is_chosen(name: str, strictest: float) -> None:
    """Two classes far apart, which every penalty tells from each other; scikit-learn's C is a penalty's inverse."""
    features = np.repeat([[-3.0, 0.0], [3.0, 0.0]], 12, axis=0) + np.linspace(-0.1, 0.1, 24)[:, None]
    fitted = PROBES[name].fit(features, np.repeat([0, 1], 12), 2, 0)
    assert fitted.hyperparameters["penalty"] == strictest


def test_a_perceptron_is_trained_for_the_number_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 images are 3 batches an epoch: 7 batches are rounded up to 3 epochs."""
    lengths: list[int] = []
    fit = MLPClassifier.fit
    monkeypatch.setattr(
        MLPClassifier, "fit", lambda model, *given: lengths.append(model.max_iter) or fit(model, *given)
    )
    images, labels = load_digits(return_X_y=True)
    MLPProbe(4, (1.0,), 7, folds=2).fit(images[:150] / 8 - 1, labels[:150].astype(np.int64), 10, 0)
    assert lengths[-1] == 3


def test_the_svm_is_scikit_learns_at_the_chosen_penalty() -> None:
    features, labels, others, _ = _data()
    fitted = PROBES["svm"].fit(features, labels, 10, 0)
    model = LinearSVC(C=fitted.hyperparameters["penalty"], dual=True, random_state=0, max_iter=5000).fit(
        features, labels
    )
    assert (_logits(fitted, others).argmax(1) == model.predict(others)).all()


@pytest.mark.parametrize("name", PROBES)
def test_a_class_with_one_image(name: str) -> None:
    """No cross-validation is possible: a set penalty, no temperature, and no claim to probabilities."""
    features, labels, others, truth = _data(3)
    keep = np.concatenate([np.flatnonzero(labels == 0)[:1], np.flatnonzero(labels > 0)])
    fitted = PROBES[name].fit(features[keep], labels[keep], 3, 0)
    assert not fitted.probabilistic
    assert "temperature" not in fitted.hyperparameters
    assert (_logits(fitted, others).argmax(1) == truth).mean() > 0.6


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("per_class", [2, 8])
def test_a_class_without_images_is_never_predicted(name: str, per_class: int) -> None:
    features, labels, others, _ = _data(3, per_class)
    fitted = PROBES[name].fit(features, np.array([0, 4, 9])[labels], 10, 0)
    found = _logits(fitted, others)
    assert found.shape == (len(others), 10)
    assert set(found.argmax(1).tolist()) <= {0, 4, 9}
    assert np.isfinite(found).all()


def test_too_many_neighbours_are_reduced() -> None:
    features, labels, others, _ = _data(2, 2)
    for smallest in (2, 1):  # with and without cross-validation
        keep = np.concatenate([np.flatnonzero(labels == 0)[:smallest], np.flatnonzero(labels == 1)])
        fitted = NearestNeighbours((50,), 5).fit(features[keep], labels[keep], 2, 0)
        assert 1 <= fitted.hyperparameters["k"] <= len(keep)
        assert _logits(fitted, others).shape == (len(others), 2)


def test_the_cross_validated_likelihood_is_best_at_the_temperature() -> None:
    """By brute force over a grid, with the folds of the probe made by hand."""
    features, labels, _, _ = _data()
    fitted = LogisticRegression((1e-2,), 3).fit(features, labels, 10, 0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    scores = cross_val_predict(
        SklearnLogistic(C=1e-2, max_iter=500), features, labels, cv=folds, method="decision_function"
    )
    grid = [math.exp(t) for t in np.linspace(-4, 4, 801)]
    best = min(grid, key=lambda t: _negative_log_likelihood(scores / t, labels))
    assert fitted.hyperparameters["temperature"] == pytest.approx(best, rel=0.02)


def _negative_log_likelihood(scores: np.ndarray, labels: np.ndarray) -> float:
    logs = scores - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True)) - scores.max(1)[:, None]
    return float(-logs[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize(
    "bad",
    [
        lambda: LinearSVM(()),
        lambda: LinearSVM((0.0,)),
        lambda: LogisticRegression((1.0,), 1),
        lambda: NearestNeighbours(()),
        lambda: NearestNeighbours((0, 1)),
        lambda: MLPProbe(hidden=0),
        lambda: MLPProbe(steps=0),
        lambda: MLPProbe(learning_rate=0.0),
        lambda: MLPProbe(penalties=(-1.0,)),
    ],
)
def test_settings_out_of_range_are_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.probe\."):
        bad()  # type: ignore[operator]

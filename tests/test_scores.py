"""The scores that rank images, against scikit-learn and torchmetrics, and what they say of degenerate test sets."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from imblearn.metrics import geometric_mean_score
from scipy.special import softmax
from sklearn import metrics as reference
from torchmetrics.functional.classification import binary_sensitivity_at_specificity

from trigan.scores import (
    BY_RECALL,
    RANKING,
    RECALL_FLOOR,
    class_evidence,
    ranking_by_class,
    ranking_scores,
    recall_scores,
)

Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def draw(images: int = 300, classes: int = 4, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K), with ties if they are multiples of ``step``, and labels (N,)."""
    rng = np.random.default_rng(7)
    labels = rng.integers(classes, size=images)
    logits = rng.normal(size=(images, classes)) + 1.2 * np.eye(classes)[labels]
    return (np.round(logits / step) * step if step else logits), labels


def sensitivity(positive: np.ndarray, scores: np.ndarray, specificity: float) -> float:
    false, true, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    return float(true[1 - false >= specificity - 1e-12].max())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_scores_equal_scikit_learn(classes: int, step: float) -> None:
    logits, labels = draw(classes=classes, step=step)
    # sums of several exponentials differ in their last digits, which breaks some ties, here or there
    probabilities, one_hot = softmax(logits, axis=1).round(12), np.eye(classes)[labels]
    found = ranking_scores(logits, labels, probabilistic=True, specificity=0.9)
    auroc = reference.roc_auc_score(one_hot, probabilities, average=None)
    precision = reference.average_precision_score(one_hot, probabilities, average=None)
    recall = [sensitivity(one_hot[:, k], probabilities[:, k], 0.9) for k in range(classes)]
    for name, expected in zip(RANKING, (auroc, precision, recall), strict=True):
        assert found["by_class"][name] == pytest.approx(list(expected), abs=2e-3 if step and classes > 2 else 1e-12)
        assert found[name] == pytest.approx(np.mean(found["by_class"][name]), abs=1e-12)
    assert found["specificity"] == 0.9


def test_sensitivity_equals_that_of_torchmetrics() -> None:
    logits, labels = draw(classes=2)
    probabilities = torch.from_numpy(softmax(logits, axis=1))[:, 1]
    for specificity in (0.5, 0.9, 0.95):
        expected, _ = binary_sensitivity_at_specificity(probabilities, torch.from_numpy(labels), specificity)
        found = ranking_scores(logits, labels, True, specificity)["by_class"]["sensitivity"][1]
        assert found == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(("negatives", "specificity"), [(10, 0.9), (20, 0.95), (100, 0.99)])
def test_a_specificity_that_is_reached_exactly_counts(negatives: int, specificity: float) -> None:
    """One of ten negatives above the threshold is a specificity of 0.9, whatever 1 - 0.9 is in binary."""
    scores = np.array([*range(negatives), negatives - 1.5])
    logits = np.stack([-scores, scores], axis=1)
    labels = np.array([0] * negatives + [1])
    assert ranking_scores(logits, labels, True, specificity)["by_class"]["sensitivity"][1] == 1.0
    above = round((1 + specificity) / 2, 3)
    assert ranking_scores(logits, labels, True, above)["by_class"]["sensitivity"][1] == 0.0


def test_the_evidence_orders_probabilities_that_are_one_to_the_last_digit() -> None:
    logits = np.array([[0.0, 50.0], [0.0, 60.0], [0.0, 800.0], [900.0, 0.0]])
    assert class_evidence(logits, True)[:, 1].tolist() == [50.0, 60.0, 800.0, -900.0]
    many = np.random.default_rng(0).normal(scale=3, size=(50, 6))
    probabilities = softmax(many, axis=1)
    expected = np.log(probabilities) - np.log1p(-probabilities)
    assert class_evidence(many, True) == pytest.approx(expected, abs=1e-9)


def test_scores_that_are_no_probabilities_are_ranked_as_they_are() -> None:
    margins, labels = draw(classes=3)
    found = ranking_scores(margins, labels, probabilistic=False)
    assert found["by_class"]["auroc"] == pytest.approx(
        list(reference.roc_auc_score(np.eye(3)[labels], margins, average=None))
    )
    assert found["by_class"]["auroc"] != ranking_scores(margins, labels, probabilistic=True)["by_class"]["auroc"]


def test_a_class_without_test_images_has_no_score_and_is_left_out_of_the_mean() -> None:
    logits, labels = draw(classes=4)
    kept = labels != 2
    found = ranking_scores(logits[kept], labels[kept], True)
    for name in RANKING:
        values = found["by_class"][name]
        assert values[2] is None
        assert found[name] == pytest.approx(np.mean([value for value in values if value is not None]))


def test_a_test_set_of_one_class_has_no_score() -> None:
    logits, labels = draw(classes=3)
    found = ranking_scores(logits[labels == 1], labels[labels == 1], True)
    assert all(found[name] is None and found["by_class"][name] == [None] * 3 for name in RANKING)


def test_perfect_and_constant_scores_have_their_exact_values() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    perfect = ranking_scores(10 * np.eye(3)[labels], labels, True)
    assert [perfect[name] for name in RANKING] == [1.0, 1.0, 1.0]
    constant = ranking_scores(np.zeros((6, 3)), labels, True)
    assert [constant[name] for name in RANKING] == [0.5, pytest.approx(1 / 3), 0.0]


@pytest.mark.parametrize("metric", RANKING)
def test_weights_count_an_image_as_often_as_they_say(metric: str) -> None:
    logits, labels = draw(images=60, classes=3)
    weights = np.random.default_rng(1).integers(4, size=(5, 60))
    found = ranking_by_class(metric, class_evidence(logits, True), labels, 0.8, weights)
    for row, counts in zip(found, weights, strict=True):
        again = np.repeat(np.arange(60), counts)
        expected = ranking_scores(logits[again], labels[again], True, 0.8)["by_class"][metric]
        assert row == pytest.approx(expected, abs=1e-12)


def test_the_geometric_mean_is_that_of_imbalanced_learn() -> None:
    rng = np.random.default_rng(3)
    labels, predicted = rng.integers(5, size=200), rng.integers(5, size=200)
    predicted[labels == 2] = 0
    recalls = reference.recall_score(labels, predicted, average=None)
    expected = geometric_mean_score(labels, predicted, average="multiclass", correction=RECALL_FLOOR)
    assert recalls[2] == 0
    assert recall_scores(list(recalls), [50] * 5)["geometric_mean"] == pytest.approx(expected)
    with_an_absent_class = recall_scores([*recalls, None], [50] * 6)
    assert with_an_absent_class["geometric_mean"] == pytest.approx(expected)


def test_classes_have_many_few_or_a_medium_number_of_labels() -> None:
    """More than 100, fewer than 20, and 20 to 100 (Liu et al. 2019); absent classes do not count."""
    recalls, counts = [0.9, 0.8, 0.7, 0.5, 0.3, None], [500, 101, 100, 20, 19, 5]
    found = recall_scores(recalls, counts)
    assert (found["many_shot"], found["medium_shot"], found["few_shot"]) == pytest.approx((0.85, 0.6, 0.3))
    assert set(found) == set(BY_RECALL)
    moved = recall_scores(recalls, counts, many=99, few=19)
    assert moved["many_shot"] == pytest.approx(0.8)
    assert (moved["medium_shot"], moved["few_shot"]) == (pytest.approx(0.4), None)

"""Scores against scikit-learn, and what they refuse."""

import json

import pytest
import torch
from sklearn import metrics as reference

from trigan.errors import DataError, TriganError
from trigan.evaluation.classification import classification_metrics


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor]:
    """200 images of 5 classes, of which class 3 is absent but predicted now and then."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 2, 4])[torch.randint(4, (200,), generator=draw)]
    logits = torch.randn(200, 5, generator=draw) + 1.5 * torch.nn.functional.one_hot(labels, 5)
    return logits, labels


def test_scores_equal_scikit_learn(scored: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = scored
    found = classification_metrics(logits, labels, 5, probabilistic=True)
    predicted = logits.argmax(dim=1)
    assert 3 in predicted
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    recalls = reference.recall_score(labels, predicted, labels=range(5), average=None, zero_division=0)
    assert found["balanced_accuracy"] == pytest.approx(recalls[[0, 1, 2, 4]].mean())
    assert found["recall"][3] is None
    assert [r for r in found["recall"] if r is not None] == pytest.approx(list(recalls[[0, 1, 2, 4]]))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert found["confusion"] == reference.confusion_matrix(labels, predicted, labels=range(5)).tolist()
    probabilities = logits.double().softmax(dim=1)
    assert found["nll"] == pytest.approx(reference.log_loss(labels, probabilities, labels=range(5)))
    assert found["n"] == 200


def test_scores_are_plain_and_repeatable(scored: tuple[torch.Tensor, torch.Tensor]) -> None:
    once, again = (json.dumps(classification_metrics(*scored, 5, probabilistic=True)) for _ in range(2))
    assert once == again


def test_only_probabilities_have_nll_and_ece(scored: tuple[torch.Tensor, torch.Tensor]) -> None:
    found = classification_metrics(*scored, 5, probabilistic=False)
    assert "nll" not in found
    assert "ece" not in found


def test_logits_inside_the_unit_interval_are_still_logits() -> None:
    """torchmetrics would take these for probabilities; softmax must be applied all the same."""
    found = classification_metrics(torch.tensor([[0.9, 0.1]]), torch.tensor([0]), 2, probabilistic=True)
    top = float(torch.tensor([0.9, 0.1], dtype=torch.float64).softmax(0)[0])
    assert found["ece"] == pytest.approx(1 - top, abs=1e-7)


def test_first_of_equal_scores_wins() -> None:
    found = classification_metrics(torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), 4, probabilistic=False)
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "error", "words"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), DataError, "no images"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), DataError, "0..3, should be 0..2"),
        (torch.zeros(2, 4), torch.tensor([0, 1]), DataError, "should be"),
        (torch.tensor([[0.0, float("nan"), 0.0]]), torch.tensor([0]), TriganError, "not finite for 1 of 1"),
    ],
)
def test_bad_input_gets_one_line(scores: torch.Tensor, labels: torch.Tensor, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        classification_metrics(scores, labels, 3, probabilistic=True)

"""Treatments of unequal class sizes: weights, sampling, and images left out, each against a closed form."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from imblearn.under_sampling import RandomUnderSampler
from sklearn.utils.class_weight import compute_class_weight

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import MixUp
from trigan.errors import ConfigError
from trigan.training.balance import Balance, ClassWeights, Deferred, EffectiveNumber, Resampling, Undersampling
from trigan.training.step import TrainingStep

from .tiny import PlainClassifier, built, classifier_stage, inputs_for

LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])


def test_class_weights_are_those_of_scikit_learn() -> None:
    weights = ClassWeights().class_weights(LABELS, 3)
    assert weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    torch.testing.assert_close(weights, torch.from_numpy(expected).float())
    assert ClassWeights().sampling_weights(LABELS, 3) is None


def test_resampling_draws_classes_equally_often() -> None:
    rows = Resampling().sampling_weights(LABELS, 3)
    assert rows is not None
    torch.testing.assert_close(torch.zeros(3).index_add(0, LABELS, rows), torch.ones(3))
    assert Resampling().class_weights(LABELS, 3) is None
    assert Balance().sampling_weights(LABELS, 3) is None
    assert Balance().class_weights(LABELS, 3) is None
    assert Balance().kept(LABELS, 3, 0) is None


@pytest.mark.parametrize("beta", ["0", "9/10", "9999/10000"])
def test_effective_numbers_are_sums_of_powers(beta: str) -> None:
    """E_n = 1 + beta + ... + beta^(n-1), in exact fractions; the weights sum to the number of classes."""
    exact = Fraction(beta)
    inverse = [1 / sum(exact**power for power in range(n)) for n in (6, 3, 1)]
    expected = [float(3 * one / sum(inverse)) for one in inverse]
    found = EffectiveNumber(beta=float(exact)).class_weights(LABELS, 3)
    assert found is not None
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    with_an_absent_class = EffectiveNumber(beta=float(exact)).class_weights(LABELS, 4)
    assert with_an_absent_class is not None
    assert with_an_absent_class[:3].tolist() == pytest.approx(expected, rel=1e-6)


def test_undersampling_keeps_as_many_of_each_class_as_imbalanced_learn() -> None:
    labels = LABELS.repeat(4)
    rows = Undersampling().kept(labels, 4, seed=3)
    assert rows is not None
    _, expected = RandomUnderSampler(random_state=0).fit_resample(np.zeros((40, 1)), labels.numpy())
    assert torch.equal(torch.bincount(labels[rows]), torch.from_numpy(np.bincount(expected)))
    assert len(set(rows.tolist())) == len(rows) == 12
    other, again = (Undersampling().kept(labels, 4, seed) for seed in (4, 3))
    assert again is not None
    assert other is not None
    assert torch.equal(rows, again)
    assert not torch.equal(rows, other)


def _imbalanced() -> dict[str, Input]:
    """Ten times as many zeros as ones."""
    data = inputs_for(classifier_stage())["labelled"]
    labels = data.known_labels
    zeros, ones = data.images[labels == 0], data.images[labels == 1]
    images = torch.cat([zeros.repeat(10, 1, 1, 1), ones])
    return {"labelled": Input(images, torch.tensor([0] * 10 * len(zeros) + [1] * len(ones)))}


def test_the_stage_balances_its_stream() -> None:
    shares = {}
    for balance in (Balance(), Resampling(), Undersampling()):
        module = built(classifier_stage(balance=balance), _imbalanced())
        seen = torch.cat([module.streams["labelled"].at(step)[1] for step in range(60)])  # type: ignore[misc]
        shares[type(balance)] = float((seen == 1).float().mean())
    assert shares[Balance] == pytest.approx(1 / 11, abs=0.01)
    assert shares[Resampling] == pytest.approx(0.5, abs=0.05)
    assert shares[Undersampling] == pytest.approx(0.5, abs=0.01)
    assert len(module.streams["labelled"]) == 8


def test_resampling_begins_at_its_share_of_the_fit() -> None:
    plain, resampled, deferred = (
        built(classifier_stage(8, balance=balance), _imbalanced()).streams["labelled"]
        for balance in (Balance(), Resampling(), Resampling(0.3))
    )
    assert deferred.weights_from == 3, "the first of 8 steps that starts after 30 %"
    for step in range(8):
        like = plain if step < 3 else resampled
        assert torch.equal(deferred.indices(step), like.indices(step))
        assert not torch.equal(plain.indices(step), resampled.indices(step))


def test_the_stage_weights_its_losses() -> None:
    """The loss by hand, one image after the other."""
    stage = classifier_stage(classifier=PlainClassifier(), augmentation=NoAugmentation(), balance=ClassWeights())
    module = built(stage, _imbalanced())
    step = TrainingStep(module.step_context, 0, 0, False)
    loss = module.updates[0].loss(step)
    batch = step.batch("labelled")
    logits = module.networks["classifier"](batch.images)
    weights = {0: 44 / (10 * 40), 1: 44 / (10 * 4)}
    by_hand = [
        weights[int(y)] * F.cross_entropy(row[None], y[None]) for row, y in zip(logits, batch.known_labels, strict=True)
    ]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())


@pytest.mark.parametrize("mix", [None, MixUp(0.5)], ids=["plain", "mixup"])
def test_weights_begin_at_their_share_of_the_fit(mix: MixUp | None) -> None:
    losses = {}
    for name, balance in (("none", Balance()), ("all", ClassWeights()), ("late", ClassWeights(0.5))):
        module = built(classifier_stage(4, classifier=PlainClassifier(), mix=mix, balance=balance), _imbalanced())
        steps = [TrainingStep(module.step_context, index, 0, False) for index in range(4)]
        losses[name] = [float(module.updates[0].loss(step).detach()) for step in steps]
    assert losses["late"] == [*losses["none"][:2], *losses["all"][2:]]
    assert losses["none"] != losses["all"]


@pytest.mark.parametrize("kind", [ClassWeights, EffectiveNumber, Resampling])
def test_a_start_is_a_share_of_the_fit(kind: type[Deferred]) -> None:
    for bad in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=r"^start: .* must be a probability"):
            kind(start=bad)
    with pytest.raises(ConfigError, match=r"^beta: 1.0 must be a probability"):
        EffectiveNumber(beta=1.0)

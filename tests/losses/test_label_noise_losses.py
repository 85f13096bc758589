"""Losses against wrong labels: closed forms in float64, and the properties that their papers state."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trigan.datasets.splits.label_noise import MatrixNoise, SymmetricNoise
from trigan.errors import ConfigError
from trigan.losses.classifier_losses import ClassifierLoss
from trigan.losses.label_noise_losses import (
    BackwardCorrection,
    EarlyLearning,
    ForwardCorrection,
    GeneralisedCrossEntropy,
    SmoothedCrossEntropy,
    SymmetricCrossEntropy,
    clipped_probabilities,
)
from trigan.losses.label_transitions import EstimatedTransition, KnownTransition, anchor_point_matrix

K = 5
SOURCE = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(40, K, generator=SOURCE, dtype=torch.float64)
LABELS = torch.randint(K, (40,), generator=SOURCE)
P = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
P_Y = P[torch.arange(40), LABELS]
COUNTS = torch.ones(K, dtype=torch.int64)
T = torch.tensor(
    [[0.7, 0.3, 0, 0, 0], [0, 0.8, 0.2, 0, 0], [0.1, 0, 0.9, 0, 0], [0, 0, 0, 1, 0], [0.2, 0.2, 0.1, 0.1, 0.4]],
    dtype=torch.float64,
)
KNOWN = KnownTransition(MatrixNoise(tuple(map(tuple, T.tolist()))))


def ready(loss: ClassifierLoss) -> ClassifierLoss:
    return loss.for_data(K, torch.device("cpu"))


def of_every_label(loss: ClassifierLoss, logits: Tensor = LOGITS) -> Tensor:
    """The loss for each label, (N, K)."""
    labels = [torch.full((len(logits),), k) for k in range(K)]
    return torch.stack([ready(loss)(logits, label, COUNTS) for label in labels], dim=1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (SmoothedCrossEntropy(0.2), -0.8 * P_Y.log() - 0.2 * P.log().mean(1)),
        (GeneralisedCrossEntropy(0.7), (1 - P_Y**0.7) / 0.7),
        (GeneralisedCrossEntropy(1.0), 1 - P_Y),
        (ForwardCorrection(KNOWN), -(P @ T)[torch.arange(40), LABELS].log()),
        (BackwardCorrection(KNOWN), -(T.inverse()[LABELS] * P.log()).sum(1)),
        (ForwardCorrection(), -P_Y.log()),
        (BackwardCorrection(), -P_Y.log()),
        (EarlyLearning(), -P_Y.log()),
    ],
)
def test_closed_forms(loss: ClassifierLoss, expected: Tensor) -> None:
    torch.testing.assert_close(ready(loss)(LOGITS, LABELS, COUNTS), expected)


def test_symmetric_cross_entropy_adds_the_reverse_one_of_the_one_hot_label() -> None:
    log_q = torch.where(F.one_hot(LABELS, K) > 0, 0.0, -4.0).double()
    expected = 0.1 * -P_Y.log() + 2.0 * -(P * log_q).sum(1)
    torch.testing.assert_close(SymmetricCrossEntropy(0.1, 2.0)(LOGITS, LABELS, COUNTS), expected)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 1.0), st.integers(0, 2**32))
def test_losses_that_bound_what_wrong_labels_do(q: float, seed: int) -> None:
    """Zhang and Sabuncu 2018, theorem 1; Wang et al. 2019, section 3.2: the reverse cross-entropy is symmetric."""
    logits = 8 * torch.randn(20, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    total = of_every_label(GeneralisedCrossEntropy(q), logits).sum(1)
    assert bool((total >= (K - K ** (1 - q)) / q - 1e-9).all())
    assert bool((total <= (K - 1) / q + 1e-9).all())
    reverse = of_every_label(SymmetricCrossEntropy(alpha=0.0), logits).sum(1)
    torch.testing.assert_close(reverse, torch.full((20,), 4.0 * (K - 1)).double())


def test_generalised_cross_entropy_tends_to_cross_entropy() -> None:
    torch.testing.assert_close(GeneralisedCrossEntropy(1e-7)(LOGITS, LABELS, COUNTS), -P_Y.log(), rtol=1e-5, atol=1e-6)


def test_backward_correction_is_unbiased_under_the_noise() -> None:
    torch.testing.assert_close(of_every_label(BackwardCorrection(KNOWN)) @ T.T, -P.log())


def test_forward_correction_is_least_at_the_true_probabilities() -> None:
    """Theorem 2: with p~ = T^T p* the noisy labels, C's p* minimises the mean loss."""
    true = P[0]
    noisy = true @ T
    logits = true.log().clone().requires_grad_()
    (of_every_label(ForwardCorrection(KNOWN), logits[None])[0] * noisy).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("kind", [ForwardCorrection, BackwardCorrection])
def test_without_noise_corrections_are_cross_entropy(kind: Any) -> None:
    loss = kind(KnownTransition(SymmetricNoise(0.0)))
    torch.testing.assert_close(ready(loss)(LOGITS, LABELS, COUNTS), -P_Y.log())
    extreme = torch.tensor([[200.0, 0, 0, 0, 0]])
    assert torch.isfinite(ready(loss)(extreme, torch.tensor([2]), COUNTS)).all()


def test_anchor_points_recover_the_matrix() -> None:
    """With p~ = T^T p and an image that is certainly of class i, row i is exact (Patrini et al. 2017, theorem 3)."""
    clean = torch.cat([P, torch.eye(K).double()])
    torch.testing.assert_close(anchor_point_matrix(clean @ T)[3:], T[3:])  # of the others no image is surely seen as i
    diagonal = SymmetricNoise(0.3).transition(K)
    found = anchor_point_matrix(clean @ torch.tensor(diagonal).double())
    torch.testing.assert_close(found, torch.tensor(diagonal).double())
    many = torch.linspace(0, 1, 101).double()
    halves = anchor_point_matrix(torch.stack([many, 1 - many], 1), percentile=90)
    torch.testing.assert_close(halves, torch.tensor([[0.9, 0.1], [0.1, 0.9]]).double())


def test_the_gradient_of_early_learning() -> None:
    """Liu et al. 2020, lemma 2: p - y + lambda g, with g_c = p_c / (1 - <p, t>) sum_k (t_k - t_c) p_k."""
    logits = (LOGITS / 3).requires_grad_()
    targets = torch.softmax(torch.randn(40, K, generator=SOURCE, dtype=torch.float64), 1)
    loss = EarlyLearning(weight=2.0)
    (loss(logits, LABELS, COUNTS) + loss.target_term(logits, targets)).sum().backward()
    p = logits.detach().softmax(1)
    inner = (p * targets).sum(1, keepdim=True)
    expected = p - F.one_hot(LABELS, K) + 2.0 * p / (1 - inner) * (inner - targets)
    assert bool(((p > 1e-4) & (p < 1 - 1e-4)).all()), "none is cut"
    torch.testing.assert_close(logits.grad, expected)
    assert float(clipped_probabilities(50 * LOGITS).min()) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: GeneralisedCrossEntropy(0.0), "q: 0.0 must be above 0"),
        (lambda: SymmetricCrossEntropy(alpha=-1.0), "alpha: -1.0"),
        (lambda: SymmetricCrossEntropy(log_zero=0.0), "log_zero: 0.0 must be below 0"),
        (lambda: SmoothedCrossEntropy(1.0), "smoothing: 1.0"),
        (lambda: EarlyLearning(momentum=1.0), "momentum: 1.0"),
        (lambda: KnownTransition(None), "noise: null must be the noise of the regime; set regime.noise"),
        (lambda: EstimatedTransition(0.0), "percentile: 0.0"),
        (
            lambda: ready(ForwardCorrection(EstimatedTransition())),
            "transition: estimated must be one of strategy=baseline",
        ),
        (lambda: ready(BackwardCorrection(KnownTransition(SymmetricNoise(0.8)))), "has an inverse"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(make: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        make()
    assert "\n" not in str(error.value)

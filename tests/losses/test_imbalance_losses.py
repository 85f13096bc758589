"""Losses for rare classes, in double precision, against their formulas written with NumPy, image by image."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.losses.classifier_losses import ClassifierLoss
from trigan.losses.imbalance_losses import LDAM, Focal, LogitAdjusted
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.classifiers.cosine_head import CosineHead

SOURCE = torch.Generator().manual_seed(0)
LOGITS = 2.0 * torch.randn(12, 4, generator=SOURCE, dtype=torch.float64)
LABELS = torch.randint(4, (12,), generator=SOURCE)
COUNTS = torch.tensor([5000, 300, 40, 7])
HEAD = CosineHead(SmallCNN(8), scale=10.0)

Formula = Callable[[np.ndarray, int, np.ndarray], float]


def log_softmax(z: np.ndarray) -> np.ndarray:
    return np.asarray(z - np.log(np.exp(z).sum()))


def focal(gamma: float) -> Formula:
    def value(z: np.ndarray, y: int, n: np.ndarray) -> float:
        p = np.exp(z[y]) / np.exp(z).sum()
        return float((1 - p) ** gamma * -np.log(p))

    return value


def adjusted(tau: float) -> Formula:
    """The softmax whose terms are multiplied by pi_k^tau."""

    def value(z: np.ndarray, y: int, n: np.ndarray) -> float:
        weights = (n / n.sum()) ** tau * np.exp(z)
        return float(-np.log(weights[y] / weights.sum()))

    return value


def ldam(z: np.ndarray, y: int, n: np.ndarray) -> float:
    """As the authors have it: m = n^-1/4 max_m / max(n^-1/4), on cosines, then times s."""
    margins = 1 / np.sqrt(np.sqrt(n))
    margins = margins * (0.5 / margins.max())
    cosines = z / 10.0
    cosines[y] -= margins[y]
    return float(-log_softmax(10.0 * cosines)[y])


CASES: dict[str, tuple[ClassifierLoss, Formula]] = {
    "focal": (Focal(), focal(2.0)),
    "focal of gamma .5": (Focal(0.5), focal(0.5)),
    "focal of gamma 0": (Focal(0.0), lambda z, y, n: float(-log_softmax(z)[y])),
    "balanced softmax": (LogitAdjusted(), lambda z, y, n: float(-log_softmax(z + np.log(n))[y])),
    "logit adjustment of tau 1.5": (LogitAdjusted(1.5), adjusted(1.5)),
    "logit adjustment of tau 0": (LogitAdjusted(0.0), lambda z, y, n: float(-log_softmax(z)[y])),
    "LDAM": (LDAM(HEAD), ldam),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_is_its_formula_and_has_its_gradient(name: str) -> None:
    loss, formula = CASES[name]
    found = loss(LOGITS, LABELS, COUNTS)
    expected = [formula(z.numpy().copy(), int(y), COUNTS.numpy()) for z, y in zip(LOGITS, LABELS, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: loss(z, LABELS, COUNTS), LOGITS.clone().requires_grad_(True))


def test_the_gradient_of_the_balanced_softmax_is_that_of_prior_times_likelihood() -> None:
    """p_k proportional to n_k exp(l_k), minus the target: Ren et al. 2020, theorem 1."""
    logits = LOGITS.clone().requires_grad_(True)
    LogitAdjusted()(logits, LABELS, COUNTS).sum().backward()
    weighted = COUNTS * LOGITS.exp()
    expected = weighted / weighted.sum(1, keepdim=True) - F.one_hot(LABELS, 4)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize("name", CASES)
def test_sure_predictions_and_absent_classes_stay_finite(name: str) -> None:
    loss, _ = CASES[name]
    logits = torch.tensor([[200.0, 0.0, -200.0, 0.0], [-200.0, 0.0, 200.0, 0.0]], requires_grad=True)
    values = loss(logits, torch.tensor([0, 0]), torch.tensor([9, 3, 0, 1]))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_cosine_head_gives_scaled_cosines() -> None:
    network = HEAD(DataSpec(1, 8, 4)).eval()
    images = torch.randn(5, 1, 8, 8, generator=SOURCE)
    with torch.no_grad():
        cosines = F.cosine_similarity(network.embed(images)[:, None], network.head.weight[None], dim=2)
        torch.testing.assert_close(network(images), 10.0 * cosines)
        network.head.weight.mul_(3.0)
        torch.testing.assert_close(network(images), 10.0 * cosines)
    assert network.head.bias is None


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda: Focal(-1.0), r"^gamma: -1.0 must be 0 or more"),
        (lambda: LogitAdjusted(-0.5), r"^tau: -0.5 must be 0 or more"),
        (lambda: LDAM(HEAD, margin=3.0), r"^margin: 3.0 must be in \[0, 2\]"),
        (lambda: CosineHead(SmallCNN(8), scale=0.0), r"^scale: 0.0 must be above 0"),
    ],
)
def test_impossible_settings_are_refused(bad: Callable[[], object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        bad()

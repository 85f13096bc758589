"""Temperature against LBFGS, bins against the published loop."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import cross_entropy

from trigan.evaluation.calibration import (
    LIMIT,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)


def overconfident(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose labels are drawn from softmax(logits / 2.5): the true temperature is about 2.5."""
    draw = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(n, 4, generator=draw)
    labels = torch.multinomial((logits / 2.5).softmax(dim=1), 1, generator=draw)[:, 0]
    return logits, labels


def guo_ece(probabilities: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """The loop of the authors' temperature_scaling, in float64."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    confidence, predicted = probabilities.double().max(1)
    right = predicted.eq(labels).double()
    total = 0.0
    for low, high in pairwise(edges):
        inside = confidence.gt(low) & confidence.le(high)
        if inside.any():
            total += float(inside.double().mean() * (right[inside].mean() - confidence[inside].mean()).abs())
    return total


def test_temperature_equals_lbfgs() -> None:
    logits, labels = overconfident()
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(logits.double() / log_t.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(logits, labels) == pytest.approx(float(log_t.detach().exp()), rel=1e-5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.15)


def test_separable_labels_get_a_small_temperature_within_bounds() -> None:
    found = fit_temperature(torch.eye(3), torch.arange(3))
    assert 1 / LIMIT <= found < 0.05
    assert negative_log_likelihood(torch.eye(3) / found, torch.arange(3)) < 1e-12


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e3])
def test_the_temperature_scales_with_the_scores(scale: float) -> None:
    """An SVM's decision values are tiny under a strict penalty."""
    logits, labels = overconfident()
    assert fit_temperature(scale * logits.double(), labels) == pytest.approx(
        scale * fit_temperature(logits, labels), rel=1e-4
    )


def test_scores_without_a_margin_have_temperature_1() -> None:
    assert fit_temperature(torch.zeros(5, 3), torch.tensor([0, 1, 2, 0, 1])) == 1.0


def test_ece_equals_the_published_loop() -> None:
    logits, labels = overconfident()
    probabilities = logits.double().softmax(dim=1)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(guo_ece(probabilities, labels))
    assert expected_calibration_error(probabilities, labels) > 0.1


def test_an_edge_belongs_to_the_bin_below() -> None:
    """9 / 15 is an edge of the 15 bins; in one bin the two would have a mean."""
    probabilities = torch.tensor([[0.6, 0.4], [0.61, 0.39]], dtype=torch.float64)
    found = expected_calibration_error(probabilities, torch.tensor([0, 1]))
    assert found == pytest.approx(0.5 * 0.4 + 0.5 * 0.61)

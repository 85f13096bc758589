import numpy as np
import pytest
import torch
from scipy.special import softmax

from trigan.losses.entropy import conditional_entropy, uniform_marginal_loss

LOGITS = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def test_conditional_entropy_is_the_mean_of_the_rows_entropies() -> None:
    p = softmax(LOGITS.numpy(), axis=1)
    assert conditional_entropy(LOGITS).item() == pytest.approx(-(p * np.log(p)).sum(1).mean())


def test_entropy_is_largest_where_nothing_is_known_and_none_where_all_is() -> None:
    assert conditional_entropy(torch.zeros(3, 8)).item() == pytest.approx(np.log(8))
    sure = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    entropy = conditional_entropy(sure)
    entropy.backward()
    assert entropy.item() == 0.0
    assert sure.grad.isfinite().all()


def test_its_descent_makes_a_row_surer_of_what_it_prefers() -> None:
    logits = torch.tensor([[1.0, 0.5]], requires_grad=True)
    conditional_entropy(logits).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]


def test_the_average_is_the_cross_entropy_of_even_classes() -> None:
    mean = softmax(LOGITS.numpy(), axis=1).mean(0)
    found = uniform_marginal_loss(LOGITS.softmax(1).mean(0)).item()
    assert found == pytest.approx(-(np.full(4, 0.25) * np.log(mean)).sum())
    assert found > np.log(4)
    assert uniform_marginal_loss(torch.full((4,), 0.25)).item() == pytest.approx(np.log(4))


def test_sure_answers_are_no_loss_if_they_are_even_on_average() -> None:
    """The two terms together want each row sure and all classes used: neither is the other's negative."""
    even = torch.eye(4) * 50
    assert uniform_marginal_loss(even.softmax(1).mean(0)).item() == pytest.approx(np.log(4))
    assert conditional_entropy(even).item() == pytest.approx(0.0, abs=1e-9)
    one = torch.zeros(4, 4)
    one[:, 0] = 200.0
    collapsed = uniform_marginal_loss(one.softmax(1).mean(0))
    assert collapsed.isfinite()
    assert collapsed.item() > 10.0

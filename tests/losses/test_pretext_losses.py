"""NT-Xent against its formula in NumPy, written out view by view, and the reconstruction error."""

import math

import numpy as np
import pytest
import torch

from trigan.losses.pretext_losses import nt_xent, squared_error


def views(count: int = 5, width: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = torch.randn(2, count, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return first, second


def by_formula(first: np.ndarray, second: np.ndarray, temperature: float) -> np.ndarray:
    """Eq. 1 of the paper for every view (2N,), as it is written there."""
    both = np.concatenate([first, second])
    count = len(both)
    losses = np.zeros(count)
    for i in range(count):
        j = (i + count // 2) % count
        s = [both[i] @ both[k] / (np.linalg.norm(both[i]) * np.linalg.norm(both[k])) for k in range(count)]
        below = sum(math.exp(s[k] / temperature) for k in range(count) if k != i)
        losses[i] = -math.log(math.exp(s[j] / temperature) / below)
    return losses


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_equals_the_formula(temperature: float) -> None:
    first, second = views()
    expected = by_formula(first.numpy(), second.numpy(), temperature)
    assert nt_xent(first, second, temperature).item() == pytest.approx(expected.mean(), rel=1e-10)
    part = np.concatenate([expected[1:3], expected[6:8]]).mean()
    assert nt_xent(first, second, temperature, 1, 3).item() == pytest.approx(part, rel=1e-10)


def test_nt_xent_is_the_mean_over_shares_of_the_anchors() -> None:
    first, second = views(6)
    shares = [nt_xent(first, second, 0.5, start, start + 2) for start in (0, 2, 4)]
    assert torch.stack(shares).mean().item() == pytest.approx(nt_xent(first, second).item())


def test_extremes_of_nt_xent() -> None:
    """Equal views, orthogonal to all others: log(1 + 2 (N - 1) e^-1/t); all views equal: log(2N - 1)."""
    basis = torch.eye(4, dtype=torch.float64)
    assert nt_xent(3 * basis, basis, 0.5).item() == pytest.approx(math.log(1 + 6 * math.exp(-2)))
    assert nt_xent(basis[[0, 0, 0, 0]], basis[[0, 0, 0, 0]]).item() == pytest.approx(math.log(7))
    swapped = basis[[1, 0, 3, 2]]
    assert nt_xent(basis, swapped).item() > nt_xent(basis, basis).item() + 1


def test_descent_lowers_nt_xent_and_both_views_have_a_gradient() -> None:
    first, second = (view.requires_grad_() for view in views())
    before = nt_xent(first, second)
    before.backward()
    assert first.grad is not None
    assert second.grad is not None
    assert bool((first.grad.norm(dim=1) > 0).all())
    assert bool((second.grad.norm(dim=1) > 0).all())
    with torch.no_grad():
        after = nt_xent(first - 0.1 * first.grad, second - 0.1 * second.grad)
    assert after < before


def test_squared_error_is_the_mean_over_all_values() -> None:
    restored, clean = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.square(restored.numpy() - clean.numpy()).sum() / clean.numel()
    assert squared_error(restored, clean).item() == pytest.approx(expected)
    assert squared_error(clean, clean).item() == 0


def test_only_the_restored_images_have_a_gradient() -> None:
    restored, clean = torch.zeros(2, 1, 2, 2, requires_grad=True), torch.ones(2, 1, 2, 2, requires_grad=True)
    squared_error(restored, clean).backward()
    assert clean.grad is None
    assert torch.equal(restored.grad, torch.full_like(restored, -2 / 8))

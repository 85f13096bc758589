import numpy as np
import pytest
import torch

from trigan.losses.reconstruction import squared_error


def test_the_mean_over_all_values() -> None:
    restored, clean = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = np.square(restored.numpy() - clean.numpy()).sum() / clean.numel()
    assert squared_error(restored, clean).item() == pytest.approx(wanted)
    assert squared_error(clean, clean).item() == 0


def test_only_the_restored_images_have_a_gradient() -> None:
    restored, clean = torch.zeros(2, 1, 2, 2, requires_grad=True), torch.ones(2, 1, 2, 2, requires_grad=True)
    squared_error(restored, clean).backward()
    assert clean.grad is None
    assert torch.equal(restored.grad, torch.full_like(restored, -2 / 8))

import pytest
import torch
from torch import Tensor

from trigan.losses.penalty import gradient_penalty

torch.set_num_threads(1)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    weight = draw(2, 3, 3)
    expected = (weight.norm() - 1) ** 2
    eps = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: (x * weight).flatten(1).sum(1), draw(5, 2, 3, 3), draw(5, 2, 3, 3) + 1, eps)
    assert penalty.item() == pytest.approx(expected.item())


def test_the_penalty_is_taken_between_the_images_row_by_row() -> None:
    real, fake, eps = draw(4, 1, 2, 2), draw(4, 1, 2, 2) + 3, torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    # D(x) = |x|^2 / 2 has gradient x
    between = eps[:, None, None, None] * real + (1 - eps[:, None, None, None]) * fake
    expected = (between.flatten(1).norm(dim=1) - 1).square().mean()
    penalty = gradient_penalty(lambda x: x.flatten(1).square().sum(1) / 2, real, fake, eps[:, None, None, None])
    assert penalty.item() == pytest.approx(expected.item())


def test_the_penalty_trains_the_critic_and_nothing_else() -> None:
    weight = draw(1, 2, 2).requires_grad_()
    real, fake = draw(3, 1, 2, 2).requires_grad_(), draw(3, 1, 2, 2).requires_grad_()

    def critic(x: Tensor) -> Tensor:
        return (x * weight).flatten(1).sum(1).tanh()

    eps = torch.full((3, 1, 1, 1), 0.5, dtype=torch.float64)
    gradient_penalty(critic, real, fake, eps).backward()
    assert weight.grad.abs().sum() > 0
    assert real.grad is None
    assert fake.grad is None


def test_a_flat_critic_has_a_finite_gradient() -> None:
    weight = torch.zeros(1, 2, 2, requires_grad=True)
    x = torch.randn(3, 1, 2, 2)
    loss = gradient_penalty(lambda images: (images * weight).flatten(1).sum(1), x, -x, torch.rand(3, 1, 1, 1))
    loss.backward()
    assert loss.item() == 1.0
    assert weight.grad.isfinite().all()

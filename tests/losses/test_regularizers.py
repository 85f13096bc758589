"""Regularisers against closed forms and against references in float64 that take one row after the other."""

import math

import pytest
import torch
from torch import Tensor, nn

from trigan.losses import regularizers

torch.set_num_threads(1)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Critic(nn.Module):
    """A smooth D of images (N, 2, 3, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(draw(18, 5)), nn.Parameter(draw(5, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.first).tanh() @ self.last


def slopes_of_rows(critic: Critic, images: Tensor) -> Tensor:
    """||grad D(x)|| of each image: d/dx w . tanh(x A) = A diag(1 - tanh^2) w, by hand."""
    hidden = (images.flatten(1) @ critic.first).tanh()
    return torch.stack([(critic.first @ ((1 - h**2) * critic.last)).norm() for h in hidden])


def weight_gradients(critic: Critic, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(critic.parameters()))])


def assert_same(critic: Critic, found: Tensor, expected: Tensor) -> None:
    """Equal values, and equal gradients for D's weights."""
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(weight_gradients(critic, found), weight_gradients(critic, expected))


def test_r1_is_half_the_squared_slope_of_each_image() -> None:
    critic, images = Critic(), draw(7, 2, 3, 3).requires_grad_()
    found = regularizers.zero_centred_penalty(critic(images), images)
    assert_same(critic, found, slopes_of_rows(critic, images.detach()).square().mean() / 2)


def test_r1_of_a_quadratic_critic_has_a_closed_form() -> None:
    images = draw(6, 1, 4, 4).requires_grad_()  # D(x) = a |x|^2 / 2 has gradient a x
    found = regularizers.zero_centred_penalty(1.5 * images.flatten(1).square().sum(1), images)
    assert found.item() == pytest.approx(9 * images.detach().square().sum().item() / 6 / 2)


def test_a_pack_of_images_has_one_gradient() -> None:
    images = draw(6, 1, 2, 2).requires_grad_()
    logits = images.view(3, -1).square().sum(1) / 2
    found = regularizers.zero_centred_penalty(logits, images)
    assert found.item() == pytest.approx(images.detach().square().sum().item() / 3 / 2)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_penalty_between_images(one_sided: bool) -> None:
    critic, real, fake, eps = Critic(), draw(8, 2, 3, 3), draw(8, 2, 3, 3, seed=2), draw(8, 1, 1, 1).sigmoid()
    mixed = eps * real + (1 - eps) * fake
    with torch.no_grad():
        critic.last /= slopes_of_rows(critic, mixed).mean()  # slopes on both sides of 1
    excess = slopes_of_rows(critic, mixed) - 1
    assert (excess > 0).any()
    assert (excess < 0).any()
    expected = (excess.clamp_min(0) if one_sided else excess).square().mean()
    assert_same(critic, regularizers.gradient_penalty(critic, real, fake, eps, one_sided), expected)


def test_dragan_perturbs_real_images_by_half_their_deviation() -> None:
    real, noise = draw(5, 1, 2, 2), torch.rand(5, 1, 2, 2).double()
    moved = regularizers.perturbed(real, noise, torch.tensor(3.0).double())
    torch.testing.assert_close(moved, real + 1.5 * noise)


def test_lecam_is_the_distance_to_the_other_average() -> None:
    real, fake = torch.tensor([2.0, -1.0]).double(), torch.tensor([-3.0, 0.5]).double()
    found = regularizers.lecam(real, fake, torch.tensor(1.0).double(), torch.tensor(-0.5).double())
    assert found.item() == pytest.approx((2.5**2 + 0) / 2 + (4.0**2 + 0.5**2) / 2)


def test_lecam_without_averages_is_zero_and_has_no_gradient() -> None:
    logits = draw(4).requires_grad_()
    term = regularizers.lecam(logits, logits * 2, torch.tensor(-math.inf), torch.tensor(math.inf))
    term.backward()
    assert term.item() == 0
    assert torch.equal(logits.grad, torch.zeros(4).double())


def test_consistency_is_a_mean_square() -> None:
    found = regularizers.logit_consistency(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    assert found.item() == pytest.approx(2.5)


def test_label_smoothing_is_the_cross_entropy_with_a_smaller_target() -> None:
    logits = draw(9)
    found = nn.functional.softplus(-logits).mean() + regularizers.label_smoothing(logits, 0.1)
    expected = nn.functional.binary_cross_entropy_with_logits(logits, torch.full((9,), 0.9).double())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("count", [8, 4, 1])
def test_top_k_keeps_the_largest_logits(count: int) -> None:
    logits = draw(8)
    assert torch.equal(regularizers.top_k(logits, count), logits.sort(descending=True).values[:count])

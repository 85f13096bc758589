"""Counted operations against counts by hand."""

import torch
from torch import nn

from trigan.cost import Cost, count_flops

BATCH = 2
#: 2 per multiply-add of a 3x3 convolution 1 -> 4 on 8x8 (6x6 left) and of a linear layer 144 -> 10.
CONVOLUTION = BATCH * 2 * 4 * 9 * 36
LINEAR = BATCH * 2 * 144 * 10


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))


def test_forward_and_backward_are_counted() -> None:
    net, images = network(), torch.randn(BATCH, 1, 8, 8)
    assert count_flops(lambda: net(images)) == CONVOLUTION + LINEAR
    # The backward pass takes each product twice, but for the first layer's input, which needs no gradient.
    assert count_flops(lambda: net(images).sum().backward()) == 2 * CONVOLUTION + 3 * LINEAR


def test_a_gradient_penalty_is_counted() -> None:
    """torch's own module tracker fails here: autograd.grad with respect to a module's input."""
    net, images = network(), torch.randn(BATCH, 1, 8, 8, requires_grad=True)

    def penalty() -> None:
        (gradient,) = torch.autograd.grad(net(images).sum(), images, create_graph=True)
        gradient.pow(2).sum().backward()

    assert count_flops(penalty) > 2 * (CONVOLUTION + LINEAR)


def test_counting_does_not_change_gradients() -> None:
    """A resumed fit counts its first step anew, and must still equal one that was not interrupted."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 1), nn.Flatten())
    images, found = torch.randn(64, 1, 8, 8), []
    for count in (lambda work: work(), count_flops):
        net.zero_grad()
        count(lambda: net(images).square().mean().backward())
        found.append([parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_the_count_is_the_same_without_gradients_and_in_bf16() -> None:
    net, images = network(), torch.randn(BATCH, 1, 8, 8)
    with torch.no_grad():
        assert count_flops(lambda: net(images)) == CONVOLUTION + LINEAR
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert count_flops(lambda: net(images)) == CONVOLUTION + LINEAR


def test_costs_add_player_by_player() -> None:
    gan = Cost(30, {"generator": 12, "discriminator": 24})
    total = sum([gan, Cost(5, {"classifier": 1, "discriminator": 1})], Cost())
    assert total == Cost(35, {"classifier": 1, "discriminator": 25, "generator": 12})


def test_grouped_convolutions_cost_what_their_weights_have() -> None:
    """4 groups of 2 channels: a quarter of the products of an ungrouped one, forward and for both gradients."""
    images = torch.randn(BATCH, 8, 6, 6, requires_grad=True)
    for layer, inputs in ((nn.Conv2d(8, 8, 3, padding=1, groups=4), 2), (nn.ConvTranspose2d(8, 4, 3, padding=1), 4)):
        forward = BATCH * 2 * 8 * inputs * 9 * 36
        assert count_flops(lambda layer=layer: layer(images)) == forward
        assert count_flops(lambda layer=layer: layer(images).sum().backward()) == 3 * forward

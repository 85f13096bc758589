import itertools
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifiers.classifier import ClassifierFactory
from trigan.networks.classifiers.cnn import AllCNN, SmallCNN
from trigan.networks.classifiers.mlp import MLP
from trigan.networks.classifiers.resnet import PreActivationBlock, ResNet18, WideResNet
from trigan.networks.weight_norm import WeightNormConv2d, WeightNormLinear

torch.set_num_threads(1)


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 8
    classes: int = 10


FACTORIES: dict[str, ClassifierFactory] = {
    "small": SmallCNN(width=4),
    "dropout": SmallCNN(width=4, dropout=0.5),
    "resnet18": ResNet18(width=4),
    "wide_resnet": WideResNet(depth=10, width=4, dropout=0.3),
    "mlp": MLP(widths=(12, 8)),
    "all_cnn": AllCNN(width=4),
}
each = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 13, 28, 32, 64, 100, 128, 300])
@each
def test_logits_are_the_head_of_the_embedding(factory: ClassifierFactory, size: int, channels: int) -> None:
    network = factory(Spec(channels, size, 7)).eval()
    x = torch.randn(3, channels, size, size)
    embedded = network.embed(x)
    assert embedded.shape == (3, network.head.in_features)
    assert network(x).shape == (3, 7)
    assert torch.equal(network(x), network.head(embedded))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    norms = BatchNorm2d | WeightNormLinear | WeightNormConv2d
    assert any(isinstance(module, norms) for module in network.modules())


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):  # shapes without values
        _check_sizes()


def _check_sizes() -> None:
    # the CIFAR ResNet-18 of 11,173,962 parameters that kuangliu's and others' code has
    assert count(ResNet18()(Spec(3, 32))) == 11_173_962
    # torchvision's resnet18 for 1000 classes
    assert count(ResNet18()(Spec(3, 64, 1000))) == 11_689_512
    assert 100_000 < count(SmallCNN()(Spec(1, 28))) < 300_000
    # EC-GAN's ResNet-18 with 16/32/64/128 channels: .70 M
    assert count(ResNet18(width=16)(Spec(3, 32))) == 701_466
    # 1.47 M: what TorchSSL's and others' WRN-28-2 count; 36.48 M is WRN-28-10's in the paper's table 4 (36.5 M)
    assert count(WideResNet()(Spec(3, 32))) == 1_467_610
    assert count(WideResNet(widening=10)(Spec(3, 32))) == 36_479_194
    # 784-1000-500-250-250-250-10: weights and biases, and a scale for each hidden value
    widths = (784, 1000, 500, 250, 250, 250, 10)
    dense = sum((before + 1) * after for before, after in itertools.pairwise(widths))
    assert count(MLP()(Spec(1, 28))) == dense + sum(widths[1:-1]) == 1_541_010
    # 96-96-96-192-192-192-192 by 3x3, 192-192 by 1x1, 10: weights and biases, and a scale for each channel
    channels = (3, 96, 96, 96, 192, 192, 192, 192)
    maps = sum((9 * before + 2) * after for before, after in itertools.pairwise(channels))
    assert count(AllCNN()(Spec(3, 32))) == maps + 2 * (192 + 2) * 192 + (192 + 1) * 10 == 1_408_234


def test_the_small_cnns_cost_grows_slower_than_the_image() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(size: int) -> int:
        network = SmallCNN(width=8)(Spec(3, size)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, size, size))
        return counter.get_total_flops()

    assert flops(128) < 5 * flops(32)  # of 16 times the pixels


LEARNERS: dict[str, ClassifierFactory] = {
    "small": SmallCNN(width=8),
    "dropout": SmallCNN(width=8, dropout=0.5),
    "mlp": MLP(widths=(200, 100), hidden_noise=0.3),
    "all_cnn": AllCNN(width=16, dropout=0.2),
}


@pytest.mark.parametrize("factory", LEARNERS.values(), ids=LEARNERS)
def test_it_learns_digits(factory: ClassifierFactory) -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images)[:, None].float() / 8 - 1, torch.tensor(digits.target)
    torch.manual_seed(0)
    network = factory(Spec())
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        rows = torch.randint(1000, (64,))
        optimizer.zero_grad()
        F.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        assert (network(images[1000:]).argmax(1) == labels[1000:]).float().mean() > 0.9


@each
def test_initialization_is_the_callers_seed_alone(factory: ClassifierFactory) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([weight.flatten() for weight in factory(Spec()).parameters()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


NARROW: dict[str, ClassifierFactory] = {
    **{f"resnet18-{width}": ResNet18(width) for width in (2, 4, 7, 16)},
    **{f"wide_resnet-{width}": WideResNet(10, 1, width) for width in (2, 4, 7, 16)},
    "mlp": MLP((12, 8), 0.0, 0.0),
    "all_cnn": AllCNN(6, 0.0, 0.0),
}


@pytest.mark.parametrize("factory", NARROW.values(), ids=NARROW)
def test_narrow_networks_learn_with_channels_last(factory: ClassifierFactory) -> None:
    """Players keep channels last. The backward pass of a strided 1x1 convolution destroys the heap there."""

    def gradient(memory_format: torch.memory_format) -> torch.Tensor:
        torch.manual_seed(0)
        network = factory(Spec(size=16)).to(memory_format=memory_format)  # type: ignore[call-overload]
        images = torch.randn(32, 1, 16, 16).contiguous(memory_format=memory_format)
        network(images).logsumexp(1).mean().backward()
        return torch.cat([weight.grad.flatten() for weight in network.parameters()])

    first, last = gradient(torch.contiguous_format), gradient(torch.channels_last)
    assert (last - first).norm() < 1e-4 * first.norm()


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"classifier\.width: 0"):
        SmallCNN(width=0)
    with pytest.raises(ConfigError, match=r"classifier\.dropout: 1"):
        SmallCNN(dropout=1.0)
    with pytest.raises(ConfigError, match=r"classifier\.width: 0"):
        ResNet18(width=0)
    with pytest.raises(ConfigError, match=r"classifier\.depth: 27 must be 6 n \+ 4"):
        WideResNet(depth=27)
    with pytest.raises(ConfigError, match=r"classifier\.dropout: -0.1"):
        WideResNet(dropout=-0.1)
    with pytest.raises(ConfigError, match=r"classifier\.widths: \[\]"):
        MLP(widths=())
    with pytest.raises(ConfigError, match=r"classifier\.widths: 0"):
        MLP(widths=(5, 0))
    with pytest.raises(ConfigError, match=r"classifier\.hidden_noise: -1"):
        MLP(hidden_noise=-1)
    with pytest.raises(ConfigError, match=r"classifier\.input_noise: nan"):
        MLP(input_noise=float("nan"))
    with pytest.raises(ConfigError, match=r"classifier\.direction_std: 0 must be a standard deviation above 0"):
        MLP(direction_std=0)
    with pytest.raises(ConfigError, match=r"classifier\.input_dropout: 1"):
        AllCNN(input_dropout=1.0)
    with pytest.raises(ConfigError, match=r"data\.image_size=6"):
        SmallCNN()(Spec(size=6))


@pytest.mark.parametrize(
    ("ours", "plain", "shape"),
    [
        (WeightNormLinear(5, 3, 0.1), nn.Linear(5, 3), (7, 5)),
        (WeightNormConv2d(2, 3, 3, 0.1, stride=2, padding=1), nn.Conv2d(2, 3, 3, 2, 1), (7, 2, 9, 9)),
    ],
    ids=["linear", "convolution"],
)
def test_weight_norm_is_torchs(ours: nn.Module, plain: nn.Module, shape: tuple[int, ...]) -> None:
    """Salimans & Kingma 2016, eq. 2: the same outputs and gradients as torch's own parametrisation."""
    from torch.nn.utils.parametrizations import weight_norm

    ours, theirs = ours.double(), weight_norm(plain.double())
    with torch.no_grad():
        theirs.parametrizations.weight.original0.copy_(ours.scale)
        theirs.parametrizations.weight.original1.copy_(ours.direction)
        theirs.bias.copy_(ours.bias)
    x = torch.randn(*shape, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.direction.grad, theirs.parametrizations.weight.original1.grad)
    torch.testing.assert_close(ours.scale.grad, theirs.parametrizations.weight.original0.grad)


def test_a_step_of_adam_turns_short_directions_more() -> None:
    """The initial outputs do not depend on the length of the directions."""
    turned = {}
    for std in (1.0, 0.1):
        torch.manual_seed(0)
        layer, x = WeightNormLinear(20, 3, std), torch.randn(7, 20)
        before = layer.direction.detach().clone()
        optimizer = torch.optim.Adam([layer.direction], lr=1e-3)
        outputs = layer(x)
        outputs.square().sum().backward()
        optimizer.step()
        cosine = F.cosine_similarity(before.double(), layer.direction.detach().double()).mean()
        turned[std] = outputs.detach(), float(torch.arccos(cosine))
    torch.testing.assert_close(turned[1.0][0], turned[0.1][0])
    assert turned[0.1][1] == pytest.approx(10 * turned[1.0][1], rel=0.05)


def test_the_mlp_embeds_before_the_last_noise() -> None:
    torch.manual_seed(0)
    network, x = MLP((12, 8), input_noise=0.0, hidden_noise=0.0)(Spec()), torch.randn(4, 1, 8, 8)
    assert torch.equal(network.embed(x), network.eval().embed(x))
    noisy = MLP((12,), input_noise=0.0, hidden_noise=0.5)(Spec())
    embedded = noisy.embed(x)
    assert torch.equal(embedded, noisy.embed(x))  # one hidden layer: no noise before it
    assert not torch.equal(noisy.head(embedded), noisy.head(embedded))


@pytest.mark.parametrize(
    ("factory", "spec"), [(MLP(input_noise=0.0), Spec(1, 28)), (AllCNN(width=32), Spec(3, 32))], ids=["mlp", "all_cnn"]
)
def test_initial_weights_preserve_variance(factory: ClassifierFactory, spec: Spec) -> None:
    torch.manual_seed(0)
    sizes = []
    for _ in range(4):
        network, images = factory(spec).eval(), torch.randn(32, spec.channels, spec.size, spec.size)
        before_the_mean = [layer for layer in network.body if not isinstance(layer, nn.AdaptiveAvgPool2d)]
        with torch.no_grad():
            sizes.append(nn.Sequential(*before_the_mean)(images).square().mean().item())
    assert 0.3 < sum(sizes) / len(sizes) < 3.0


def test_a_block_of_a_wide_resnet_is_the_papers() -> None:
    """Written out with torch's own layers: pre-activation, and a projected shortcut of the activated input."""
    torch.manual_seed(0)
    block = PreActivationBlock(4, 6, 2, 0.0).eval()
    for norm in (block.norm1, block.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    x = torch.randn(3, 4, 8, 8)
    one = F.relu(F.batch_norm(x, block.norm1.running_mean, block.norm1.running_var))
    two = F.conv2d(one, block.conv1.weight, stride=2, padding=1)
    two = F.relu(F.batch_norm(two, block.norm2.running_mean, block.norm2.running_var))
    expected = F.conv2d(two, block.conv2.weight, padding=1) + F.conv2d(one, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(x), expected)
    same = PreActivationBlock(4, 4, 1, 0.0).eval()
    torch.nn.init.zeros_(same.conv2.weight)
    torch.testing.assert_close(same(x), x)  # the raw input where the shape stays

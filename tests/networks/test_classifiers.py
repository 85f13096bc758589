from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.classifier import ClassifierFactory
from trigan.networks.resnet import ResNet18
from trigan.networks.small_cnn import SmallCNN

torch.set_num_threads(1)


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 8
    classes: int = 10


FACTORIES = [SmallCNN(width=4), SmallCNN(width=4, dropout=0.5), ResNet18(width=4)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 13, 28, 32, 64, 100, 128])
@pytest.mark.parametrize("factory", FACTORIES, ids=["small", "dropout", "resnet18"])
def test_logits_are_the_head_of_the_embedding(factory: ClassifierFactory, size: int, channels: int) -> None:
    network = factory(Spec(channels, size, 7)).eval()
    x = torch.randn(3, channels, size, size)
    embedded = network.embed(x)
    assert embedded.shape == (3, network.head.in_features)
    assert network(x).shape == (3, 7)
    assert torch.equal(network(x), network.head(embedded))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert any(isinstance(module, BatchNorm2d) for module in network.modules())


def test_sizes_are_the_published_ones() -> None:
    def count(network: nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters())

    # the CIFAR ResNet-18 of 11,173,962 parameters that kuangliu's and others' code has
    assert count(ResNet18()(Spec(3, 32))) == 11_173_962
    # torchvision's resnet18 for 1000 classes
    assert count(ResNet18()(Spec(3, 64, 1000))) == 11_689_512
    assert 100_000 < count(SmallCNN()(Spec(1, 28))) < 300_000


def test_the_small_cnns_cost_grows_slower_than_the_image() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    def flops(size: int) -> int:
        network = SmallCNN(width=8)(Spec(3, size)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, size, size))
        return counter.get_total_flops()

    assert flops(128) < 5 * flops(32)  # of 16 times the pixels


@pytest.mark.parametrize("factory", FACTORIES[:2], ids=["small", "dropout"])
def test_it_learns_digits(factory: ClassifierFactory) -> None:
    digits = load_digits()
    images, labels = torch.tensor(digits.images)[:, None].float() / 8 - 1, torch.tensor(digits.target)
    torch.manual_seed(0)
    network = SmallCNN(width=8, dropout=factory.dropout)(Spec())
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(120):
        rows = torch.randint(1000, (64,))
        optimizer.zero_grad()
        F.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        assert (network(images[1000:]).argmax(1) == labels[1000:]).float().mean() > 0.9


@pytest.mark.parametrize("factory", FACTORIES, ids=["small", "dropout", "resnet18"])
def test_initialization_is_the_callers_seed_alone(factory: ClassifierFactory) -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([weight.flatten() for weight in factory(Spec()).parameters()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("width", [2, 4, 7, 16])
def test_narrow_networks_learn_with_channels_last(width: int) -> None:
    """Players keep channels last. The backward pass of a strided 1x1 convolution destroys the heap there."""

    def gradient(memory_format: torch.memory_format) -> torch.Tensor:
        torch.manual_seed(0)
        network = ResNet18(width)(Spec(size=16)).to(memory_format=memory_format)  # type: ignore[call-overload]
        images = torch.randn(32, 1, 16, 16).contiguous(memory_format=memory_format)
        network(images).logsumexp(1).mean().backward()
        return torch.cat([weight.grad.flatten() for weight in network.parameters()])

    first, last = gradient(torch.contiguous_format), gradient(torch.channels_last)
    assert (last - first).norm() < 1e-4 * first.norm()


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"classifier\.width=0"):
        SmallCNN(width=0)
    with pytest.raises(ConfigError, match=r"classifier\.dropout=1"):
        SmallCNN(dropout=1.0)
    with pytest.raises(ConfigError, match=r"classifier\.width=0"):
        ResNet18(width=0)
    with pytest.raises(ConfigError, match=r"data\.image_size=6"):
        SmallCNN()(Spec(size=6))

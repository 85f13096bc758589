"""GAN architectures for every size and number of channels, and the properties that the papers state."""

from dataclasses import dataclass, replace
from statistics import NormalDist

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.networks.shapes import map_sizes
from trigan.networks.weight_norm import fold_spectral_norm

torch.set_num_threads(1)

SMALL = [DCGAN(width=4, latent=8), CGAN(width=4, latent=8, label_embedding_dim=4, joint_units=8)]
SIZES = [8, 9, 13, 28, 32, 64, 100, 128, 512]


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 8
    classes: int = 5


def labels(architecture: DCGAN, n: int) -> Tensor | None:
    return torch.arange(n) % 5 if architecture.conditional else None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("architecture", SMALL, ids=["dcgan", "cgan"])
def test_shapes_ranges_and_features(architecture: DCGAN, size: int, channels: int) -> None:
    spec = Spec(channels, size)
    generator, discriminator = architecture.generator(spec), architecture.discriminator(spec)
    y = labels(architecture, 3)
    images = generator(torch.randn(3, generator.latent), y)
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images, y).shape == (3,)
    features = discriminator.features(images)
    chain = map_sizes(size)
    assert list(features) == [f"conv{level}" for level in range(1, len(chain))]
    assert [tuple(f.shape[2:]) for f in features.values()] == [(s, s) for s in chain[1:]]
    assert [f.shape[1] for f in features.values()] == [4 * min(2**level, 8) for level in range(len(chain) - 1)]


@pytest.mark.parametrize("architecture", SMALL, ids=["dcgan", "cgan"])
def test_every_weight_gets_a_gradient(architecture: DCGAN) -> None:
    generator, discriminator = architecture.generator(Spec()), architecture.discriminator(Spec())
    y = labels(architecture, 10)
    discriminator(generator(torch.randn(10, 8), y), y).square().sum().backward()
    for network in (generator, discriminator):
        for name, weight in network.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("architecture", SMALL, ids=["dcgan", "cgan"])
def test_initialization_is_the_callers_seed_alone(architecture: DCGAN) -> None:
    def state(seed: int) -> list[Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            networks = architecture.generator(Spec()), architecture.discriminator(Spec())
        return [value for network in networks for value in network.state_dict().values()]

    assert all(map(torch.equal, state(1), state(1)))
    assert not all(map(torch.equal, state(1), state(2)))


def test_initial_weights_are_those_of_radford_et_al() -> None:
    torch.manual_seed(0)
    architecture = DCGAN(width=32)
    for network in (architecture.generator(Spec(3, 32)), architecture.discriminator(Spec(3, 32))):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
                assert module.bias is None or not module.bias.any()
            elif isinstance(module, BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1.0, abs=0.02)
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.4)


def test_label_and_latent_have_the_same_initial_scale() -> None:
    torch.manual_seed(0)
    generator = CGAN().generator(Spec(1, 8, 10))
    hidden = generator.input_layer(torch.randn(1000, 64), torch.arange(1000) % 10)
    by_latent, by_label = hidden.var(0)[:64].mean(), hidden.var(0)[64:].mean()
    assert 0.5 < by_latent / by_label < 2


def test_the_joint_layer_is_a_maxout_of_image_and_label() -> None:
    head = CGAN(width=4, joint_units=3).discriminator(Spec()).head.double()
    features, y = torch.randn(2, 32, dtype=torch.float64), torch.tensor([4, 0])
    one_hot = torch.nn.functional.one_hot(y, 5).double()
    joined = torch.cat([features, one_hot], 1) @ torch.cat([head.map_x.weight.T, head.map_y.weight])
    units = (joined + head.map_x.bias).reshape(2, 3, 4).max(2).values
    torch.testing.assert_close(head(features, y), units @ head.logit.weight.T + head.logit.bias)


def test_parameter_counts_by_hand() -> None:
    def count(network: nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters())

    architecture = DCGAN(width=32, latent=64)
    # 5x5 kernels; conv1 with a bias, conv2 with batch norm, 2x2 map of 64 channels to one logit
    assert count(architecture.discriminator(Spec())) == (25 * 32 + 32) + (32 * 64 * 25 + 2 * 64) + (4 * 64 + 1)
    # projection and its batch norm, one doubling, the image
    assert count(architecture.generator(Spec())) == 64 * 256 + 2 * 64 + (64 * 32 * 25 + 2 * 32) + (32 * 25 + 1)
    conditional = CGAN(width=32, latent=64, label_embedding_dim=16, joint_units=24)
    joint = (256 + 5) * 4 * 24 + 4 * 24 + 24 + 1
    assert count(conditional.discriminator(Spec())) == (25 * 32 + 32) + (32 * 64 * 25 + 2 * 64) + joint


def test_batch_norm_is_where_the_paper_puts_it() -> None:
    spec = Spec(size=32)
    backbone = DCGAN(width=4).discriminator(spec).backbone
    assert [stage.norm is not None for stage in backbone.stages] == [False, True, True]
    for norm in ("none", "spectral"):
        discriminator = DCGAN(width=4, discriminator_norm=norm).discriminator(spec)
        assert not any(isinstance(module, BatchNorm2d) for module in discriminator.modules())
    generator = DCGAN(width=4, discriminator_norm="none").generator(spec)
    assert sum(isinstance(module, BatchNorm2d) for module in generator.modules()) == 3


@pytest.mark.parametrize("architecture", SMALL, ids=["dcgan", "cgan"])
def test_spectral_norm_bounds_every_weight_of_d(architecture: DCGAN) -> None:
    torch.manual_seed(0)
    discriminator = replace(architecture, discriminator_norm="spectral").discriminator(Spec(1, 16))
    y = labels(architecture, 4)
    for _ in range(30):
        discriminator(torch.randn(4, 1, 16, 16), y)
    discriminator.eval()
    x = torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(fold_spectral_norm(discriminator)(x, y), discriminator(x, y))
    weights = [m.weight for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(weights) == (5 if architecture.conditional else 3)
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.05)


def test_labels_change_images_and_logits_but_not_features() -> None:
    torch.manual_seed(0)
    architecture = SMALL[1]
    generator, discriminator = architecture.generator(Spec()), architecture.discriminator(Spec())
    z, zeros, ones = torch.randn(6, 8), torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    assert generator.classes == 5
    assert not torch.allclose(generator(z, zeros), generator(z, ones))
    images = generator(z, zeros).detach()
    maps: list[list[Tensor]] = []
    for stage in discriminator.backbone.stages:
        stage.register_forward_hook(lambda *given: maps[-1].append(given[2]))
    logits = []
    for y in (zeros, ones):
        maps.append([])
        logits.append(discriminator(images, y))
    assert not torch.allclose(logits[0], logits[1])
    maps.append([])
    named = discriminator.features(images)
    assert list(named) == ["conv1", "conv2"]
    assert len(maps[0]) == len(maps[1]) == 2
    assert all(map(torch.equal, maps[0], maps[1]))
    assert all(map(torch.equal, maps[0], named.values()))


def test_an_unconditional_pair_ignores_labels() -> None:
    generator, discriminator = SMALL[0].generator(Spec()), SMALL[0].discriminator(Spec())
    generator.eval(), discriminator.eval()
    z, y = torch.randn(3, 8), torch.tensor([0, 1, 2])
    assert generator.classes == 0
    assert torch.equal(generator(z), generator(z, y))
    assert torch.equal(discriminator(generator(z)), discriminator(generator(z), y))


def test_a_conditional_generator_requires_labels_and_its_discriminator_does_not() -> None:
    """Without a label the code of the maxout units, 8 of 4 pieces, is that of the quantiles of N(0, 1)."""
    generator, discriminator = SMALL[1].generator(Spec()), SMALL[1].discriminator(Spec())
    with pytest.raises(ConfigError, match="generator needs labels"):
        generator(torch.randn(2, 8))
    images, head = torch.randn(6, 1, 8, 8), discriminator.eval().head
    pieces = F.linear(discriminator.backbone(images).flatten(1), head.map_x.weight, head.map_x.bias)
    quantiles = NormalDist().inv_cdf(0.125), NormalDist().inv_cdf(0.375)
    pieces = pieces + torch.tensor([quantiles[0], quantiles[1], -quantiles[1], -quantiles[0]]).repeat(8)
    expected = head.logit(pieces.view(6, 8, 4).amax(2)).squeeze(1)
    torch.testing.assert_close(discriminator(images), expected)
    y = torch.tensor([0, -1, 1, -1, -1, 2])
    mixed = torch.where(y < 0, expected, discriminator(images, y.clamp_min(0)))
    torch.testing.assert_close(discriminator(images, y), mixed)
    assert not torch.equal(discriminator(images, y.clamp_min(0)), expected)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 0), ("latent", -1), ("max_multiplier", 0), ("width", 2.5), ("discriminator_norm", "layer")],
)
def test_settings_out_of_range_are_named(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"architecture\.{setting}: "):
        DCGAN(**{setting: value})
    with pytest.raises(ConfigError, match=r"architecture\.joint_units: 0"):
        CGAN(joint_units=0)

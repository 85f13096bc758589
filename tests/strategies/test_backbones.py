"""Features of an image as in Radford et al. 2015: every layer's map, max-pooled to 4x4, flattened."""

import pytest
import torch
import torch.nn.functional as F

from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.samples.filters import outputs
from trigan.strategies.backbones import FeatureExtractor, ProbedBackbone


def _images(channels: int, size: int, count: int = 5) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.rand(count, channels, size, size, generator=source) * 2 - 1


@pytest.mark.parametrize(
    ("channels", "size", "width", "features"),
    [
        (1, 28, 32, 16 * (32 + 64 + 128)),  # 14x14, 7x7, 4x4
        (3, 32, 32, 16 * (32 + 64 + 128)),  # 16x16, 8x8, 4x4
        (3, 32, 64, 16 * (64 + 128 + 256)),
        (1, 8, 8, 16 * 8 + 4 * 16),  # 4x4, 2x2: a smaller map stays as it is
        (3, 64, 8, 16 * (8 + 16 + 32 + 64)),
    ],
)
@pytest.mark.parametrize("architecture", [DCGAN, CGAN])
def test_shapes(architecture: type[DCGAN], channels: int, size: int, width: int, features: int) -> None:
    discriminator = architecture(width=width).discriminator(DataSpec(channels, size, 10)).eval()
    found = FeatureExtractor(discriminator, (), 4)(_images(channels, size))
    assert found.shape == (5, features)


def test_pooling_by_hand() -> None:
    discriminator = DCGAN(width=4).discriminator(DataSpec(3, 32, 10)).eval()
    images = _images(3, 32)
    found = FeatureExtractor(discriminator, ("conv3", "conv1"), 4)(images)
    maps = discriminator.features(images)
    assert [tuple(value.shape[1:]) for value in maps.values()] == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
    by_hand = torch.cat([maps["conv3"].flatten(1), F.max_pool2d(maps["conv1"], 4).flatten(1)], 1)
    assert torch.equal(found, by_hand)
    one = FeatureExtractor(discriminator, ("conv2",), 1)(images)
    assert torch.equal(one, maps["conv2"].amax((2, 3)))


def test_pixels_are_features_too() -> None:
    images = _images(3, 8)
    extractor = FeatureExtractor(None, (), 4)
    assert torch.equal(extractor(images), images.flatten(1))
    assert torch.equal(outputs(extractor, images), images.flatten(1))


def test_an_unknown_layer_is_refused() -> None:
    discriminator = DCGAN(width=4).discriminator(DataSpec(1, 8, 10)).eval()
    with pytest.raises(ConfigError, match=r"strategy.layers: 'conv9' is no layer of D; choose from conv1, conv2"):
        FeatureExtractor(discriminator, ("conv9",), 4)(_images(1, 8))


def test_a_probed_backbone_standardises() -> None:
    backbone = ProbedBackbone(FeatureExtractor(None, (), 4), torch.nn.Identity(), 64)
    images = _images(1, 8, 200)
    backbone.mean.copy_(images.flatten(1).mean(0))
    backbone.scale.copy_(images.flatten(1).std(0))
    found = backbone(images)
    torch.testing.assert_close(found.mean(0), torch.zeros(64), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.std(0), torch.ones(64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [1, 256, 257, 600])
def test_extraction_does_not_depend_on_batches(count: int) -> None:
    discriminator = DCGAN(width=4).discriminator(DataSpec(1, 8, 10)).eval()
    extractor = FeatureExtractor(discriminator, (), 4)
    source = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=source, dtype=torch.uint8)
    found = outputs(extractor, images)
    assert not found.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found, extractor(images / 127.5 - 1), rtol=1e-4, atol=1e-5)

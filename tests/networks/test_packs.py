"""PacGAN's packs and the minibatch standard deviation, against their definitions."""

import pytest
import torch

from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.networks.gans.minibatch_std import MinibatchStd
from trigan.networks.gans.pacgan import PacGAN

SPEC = DataSpec(1, 8, 10)
INNER = DCGAN(width=4, latent=4, discriminator_norm="none")


def test_a_pack_stacks_consecutive_images_on_channels() -> None:
    packed, x = PacGAN(INNER, 3).discriminator(SPEC), torch.randn(6, 1, 8, 8)
    logits = packed(x)
    expected = packed.network(torch.stack([torch.cat([x[0], x[1], x[2]]), torch.cat([x[3], x[4], x[5]])]))
    assert logits.shape == (2,)
    assert torch.equal(logits, expected)


def test_in_evaluation_every_image_is_its_own_pack() -> None:
    packed, x = PacGAN(INNER, 2).discriminator(SPEC).eval(), torch.randn(5, 1, 8, 8)
    assert packed(x).shape == (5,)
    torch.testing.assert_close(packed(x[2:3]), packed(x)[2:3])
    torch.testing.assert_close(packed(x), packed.network(x.repeat(1, 2, 1, 1)))
    assert packed.features(x)["conv1"].shape[0] == 5


def test_packs_that_are_not_full_and_labels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"architecture.images=2: 5 images .*not full packs"):
        PacGAN(INNER, 2).discriminator(SPEC)(torch.zeros(5, 1, 8, 8))
    with pytest.raises(ConfigError, match="packs images without labels"):
        PacGAN(CGAN())
    with pytest.raises(ConfigError, match=r"architecture\.images: 0 must"):
        PacGAN(INNER, 0)


def test_the_minibatch_deviation_is_that_of_each_group() -> None:
    layer, x = MinibatchStd(3), torch.randn(6, 2, 4, 4)
    found = layer(x)
    assert torch.equal(found[:, :2], x)
    for start in (0, 3):
        expected = x[start : start + 3].std(0, correction=0).mean()
        assert found[start : start + 3, 2].unique() == pytest.approx(float(expected), rel=1e-5)


def test_in_evaluation_it_is_an_average_and_images_are_independent() -> None:
    discriminator, x = DCGAN(width=4, latent=4, minibatch_std=4).discriminator(SPEC), torch.randn(8, 1, 8, 8)
    for _ in range(3):
        discriminator(x)
    assert discriminator.statistic is not None
    assert float(discriminator.statistic.average) > 0
    discriminator.eval()
    torch.testing.assert_close(discriminator(x[3:4]), discriminator(x)[3:4])
    assert set(discriminator.features(x)) == {"conv1", "conv2"}


def test_repeated_images_lower_it() -> None:
    layer, one = MinibatchStd(4), torch.randn(1, 2, 4, 4)
    assert float(layer(one.expand(4, -1, -1, -1))[:, 2].max()) < 1e-3


def test_groups_that_are_not_full_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"minibatch_std=4: 6 images .*not full groups"):
        MinibatchStd(4)(torch.zeros(6, 2, 4, 4))
    with pytest.raises(ConfigError, match=r"architecture\.minibatch_std: 1 must be 0"):
        DCGAN(minibatch_std=1)


def test_a_conditional_discriminator_has_it_too() -> None:
    discriminator = CGAN(width=4, latent=4, minibatch_std=2).discriminator(SPEC)
    x, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    assert discriminator.eval()(x, y).shape == (4,)
    torch.testing.assert_close(discriminator.logits_for_every_label(x, 10)[range(4), y], discriminator(x, y))

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from trigan.errors import ConfigError
from trigan.networks.gans.gan import KERNEL_SIZE, PADDING, upsampling_conv
from trigan.networks.shapes import channels_per_level, map_sizes, require_supported


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 28
    classes: int = 10


@pytest.mark.parametrize("size", [*range(8, 129), 200, 224, 256, 300, 511, 512])
def test_every_size_halves_to_a_small_map_and_back(size: int) -> None:
    chain = map_sizes(size)
    assert chain[0] == size
    assert 2 <= chain[-1] <= 4
    assert len(chain) >= 3
    for large, small in pairwise(chain):
        assert (large + 2 * PADDING - KERNEL_SIZE) // 2 + 1 == small  # torch's Conv2d formula
        assert upsampling_conv(1, 1, large, bias=False)(torch.zeros(1, 1, small, small)).shape[-1] == large


def test_the_chains_that_the_docs_promise() -> None:
    assert map_sizes(8) == (8, 4, 2)
    assert map_sizes(28) == (28, 14, 7, 4)
    assert map_sizes(64) == (64, 32, 16, 8, 4)


def test_widths_double_up_to_the_cap() -> None:
    assert channels_per_level(32, 5, 8) == (32, 64, 128, 256, 256)


@pytest.mark.parametrize("size", [1, 7, 513])
def test_an_image_size_out_of_range_is_named(size: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.image_size={size}.*8 to 512"):
        require_supported(Spec(size=size))


def test_images_need_a_channel() -> None:
    with pytest.raises(ConfigError, match="channels"):
        require_supported(Spec(channels=0))

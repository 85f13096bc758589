"""Images of another data set: never its test images, never this run's, and in this run's shape."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from tensor_datasets import from_tensors

from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.external_data import external_images, resize_to_spec, with_external
from trigan.datasets.splits.regime import Regime
from trigan.datasets.types import DataSpec, ImageDataset
from trigan.errors import DataError

REGIME = Regime(labels_per_class=4)


def noise(count: int, channels: int, size: int, official: bool = True) -> ImageDataset:
    images = torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(count))
    tests = torch.arange(count) % 4 == 0 if official else None
    return from_tensors("noise", images.to(torch.uint8), torch.arange(count) % 2, tests)


def test_grey_becomes_colour_by_repetition_and_colour_grey_by_its_luma() -> None:
    grey = noise(3, 1, 8).images
    assert torch.equal(resize_to_spec(grey, DataSpec(3, 8, 2)), grey.expand(-1, 3, -1, -1))
    colour = noise(3, 3, 8).images
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    luma = (colour.float() * weights).sum(1, keepdim=True)
    assert float((resize_to_spec(colour, DataSpec(1, 8, 2)).float() - luma).abs().max()) <= 1.0
    assert resize_to_spec(grey, DataSpec(1, 8, 2)) is grey


@pytest.mark.parametrize(("size", "wanted"), [(8, 13), (28, 8)])
def test_sizes_are_changed_as_those_of_a_source(size: int, wanted: int) -> None:
    images = noise(2, 1, size).images
    by_hand = [
        Image.fromarray(image[0].numpy()).resize((wanted, wanted), Image.Resampling.BILINEAR) for image in images
    ]
    assert np.array_equal(
        resize_to_spec(images, DataSpec(1, wanted, 2))[:, 0].numpy(), np.stack([np.asarray(i) for i in by_hand])
    )


def test_the_other_test_set_is_left_out() -> None:
    source, other = Digits().load(), noise(40, 1, 8)
    drawn = with_external(draw_split(source, REGIME, 0), source, other)
    assert other.official_test is not None
    assert torch.equal(external_images(drawn.view), other.images[~other.official_test])
    assert drawn.external is not None
    assert asdict(drawn.external) == {
        "name": "noise",
        "fingerprint": other.fingerprint,
        "images": 30,
        "dropped_in_test": 0,
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_this_runs_test_images_in_the_other_data_set_are_left_out(channels: int) -> None:
    """The other data set holds all of ours, and others: of ours, those that test are left out, in colour as well."""
    source, others = Digits().load(), noise(20, channels, 8, official=False)
    ours = source.images.expand(-1, channels, -1, -1)
    both = from_tensors("both", torch.cat([ours, others.images]), torch.zeros(len(ours) + 20, dtype=torch.int64) + 1)
    drawn = draw_split(source, REGIME, 0)
    found = with_external(drawn, source, both)
    tests = {source.images[i].numpy().tobytes() for i in drawn.parts.test}
    seen = external_images(found.view)
    assert not any(image.numpy().tobytes() in tests for image in seen)
    assert found.external is not None
    assert found.external.dropped_in_test == len(drawn.parts.test)
    assert len(seen) == len(ours) + 20 - len(drawn.parts.test)
    assert drawn.view.external is None


def test_no_image_left_is_one_line() -> None:
    source = Digits().load()
    drawn = draw_split(source, REGIME, 0)
    mine = source.images[torch.from_numpy(drawn.parts.test)]
    with pytest.raises(DataError, match=r"strategy.pretrain.data: same has no image outside its own test set"):
        with_external(drawn, source, from_tensors("same", mine, torch.arange(len(mine)) % 2))

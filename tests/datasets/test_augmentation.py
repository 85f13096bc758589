import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import ndimage
from sklearn.datasets import load_sample_images

from trigan.datasets.augmentation import (
    ClassicAugmentation,
    NoAugmentation,
    StrongAugmentation,
    affine,
    color_jitter,
    crop_flip,
    cut_out,
)
from trigan.datasets.randaugment import RandAugment, TrivialAugment
from trigan.datasets.stream import to_float, to_uint8
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError
from trigan.rng import Draws

EVERYTHING = ClassicAugmentation(
    rotate=20, translate=1.5, scale=0.2, crop=2, flip=True, cutout=3, noise=0.1, color_jitter=0.2
)
ALL = [
    NoAugmentation(),
    EVERYTHING,
    ClassicAugmentation(crop=1),
    ClassicAugmentation(flip=True),
    StrongAugmentation(EVERYTHING),
    StrongAugmentation(ClassicAugmentation()),
    RandAugment(EVERYTHING),
    TrivialAugment(EVERYTHING),
]


def draws(start: int = 0, stop: int = 32, step: int = 4) -> Draws:
    return Draws(seed=1, step=step, total=32, start=start, stop=stop)


@pytest.fixture(scope="module")
def images(digits: ImageDataset) -> torch.Tensor:
    grey = to_float(digits.images[:32])
    return torch.cat([grey, grey.flip(0), -grey], 1)


@pytest.mark.parametrize("augmentation", ALL)
def test_shape_range_and_repetition(augmentation: ClassicAugmentation, images: torch.Tensor) -> None:
    before = images.clone()
    out = augmentation(images, draws(), "real")
    assert torch.equal(images, before)
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert out.min() >= -1 - 1e-5
    assert out.max() <= 1 + 1e-5
    assert torch.equal(out, augmentation(images, draws(), "real"))
    if not isinstance(augmentation, NoAugmentation):
        assert not torch.equal(out, augmentation(images, draws(step=5), "real"))
        assert not torch.equal(out, augmentation(images, draws(), "fake"))


@pytest.mark.parametrize("augmentation", ALL)
def test_two_ranks_equal_one_process(augmentation: ClassicAugmentation, images: torch.Tensor) -> None:
    whole = augmentation(images, draws(), "real")
    halves = [
        augmentation(images[rows], draws(rows.start, rows.stop), "real") for rows in (slice(0, 16), slice(16, 32))
    ]
    assert torch.allclose(whole, torch.cat(halves), atol=1e-6, rtol=0)


def test_affine_equals_scipy(images: torch.Tensor) -> None:
    uniform = torch.rand(32, 4, generator=torch.Generator().manual_seed(0))
    out = affine(images, uniform, rotate=30, translate=2, scale=0.3)
    for i in range(8):
        angle, factor, right, down = (2 * uniform[i].double() - 1).tolist()
        angle, factor = math.radians(30 * angle), 1 + 0.3 * factor
        # Output (row, column) comes from input: undo the shift, then scale and turn, about the centre.
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / factor
        centre = np.array([3.5, 3.5])
        shift = centre - turn @ (centre + 2 * np.array([down, right]))
        for channel in range(3):
            source = np.pad(images[i, channel].double().numpy() + 1, 8)
            expected = ndimage.affine_transform(source, turn, shift + 8 - turn @ np.array([8, 8]), order=1) - 1
            assert np.allclose(out[i, channel].numpy(), expected[8:16, 8:16], atol=1e-4)


def test_crop_flip_equals_slicing(images: torch.Tensor) -> None:
    uniform = torch.rand(32, 3, generator=torch.Generator().manual_seed(1))
    for crop, flip in ((2, True), (2, False), (0, True)):
        out = crop_flip(images, uniform, crop, flip)
        for i in range(32):
            source = images[i].flip(-1) if flip and uniform[i, 2] < 0.5 else images[i]
            padded = torch.nn.functional.pad(source, (crop,) * 4, value=-1.0)
            top, left = (int(v) for v in (uniform[i, :2] * (2 * crop + 1)).long())
            assert torch.equal(out[i], padded[:, top : top + 8, left : left + 8])


def test_crop_reaches_every_shift_and_flips_half() -> None:
    image = torch.full((4000, 1, 8, 8), -1.0)
    image[:, 0, 4, 1] = 1.0
    many = Draws(0, 0, 4000, 0, 4000)
    ones = torch.nonzero(ClassicAugmentation(crop=1)(image, many, "x")[:, 0] == 1)
    assert set(map(tuple, ones[:, 1:].tolist())) == {(r, c) for r in (3, 4, 5) for c in (0, 1, 2)}
    flipped = (ClassicAugmentation(flip=True)(image, many, "x")[:, 0, 4, 6] == 1).float().mean()
    assert float(flipped) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("size", "shift"), [(8, 1), (12, 2), (32, 4), (512, 64)])
def test_a_crop_below_one_is_a_fraction_of_the_image(size: int, shift: int) -> None:
    few = Draws(0, 0, 6, 0, 6)
    images = torch.rand(6, 1, size, size, generator=torch.Generator().manual_seed(0))
    fraction = ClassicAugmentation(crop=0.125)(images, few, "x")
    assert torch.equal(fraction, ClassicAugmentation(crop=shift)(images, few, "x"))
    with pytest.raises(ConfigError, match=r"crop: 1\.5 must be whole pixels, or a fraction below 1"):
        ClassicAugmentation(crop=1.5)


@pytest.mark.parametrize("enhancement", ["Brightness", "Contrast", "Color"])
def test_color_jitter_equals_pillow(enhancement: str) -> None:
    """One factor at a time within two of 256 levels; the two others are 1, the middle of their range."""
    photograph = load_sample_images().images[0][100:132, 200:232]
    image = to_float(torch.tensor(photograph).permute(2, 0, 1)[None])
    for factor in (0.6, 0.85, 1.3):
        uniform = torch.full((1, 3), 0.5)
        uniform[0, ["Brightness", "Contrast", "Color"].index(enhancement)] = (factor - 1) / 0.4 / 2 + 0.5
        found = to_uint8(color_jitter(image, uniform, 0.4))[0].permute(1, 2, 0).numpy().astype(int)
        expected = np.asarray(getattr(ImageEnhance, enhancement)(Image.fromarray(photograph)).enhance(factor))
        assert np.abs(found - expected).max() <= 2
        assert np.abs(found - photograph).mean() > 1


def test_color_jitter_leaves_grey_images_and_other_draws(images: torch.Tensor) -> None:
    with_jitter, without = ClassicAugmentation(crop=1, color_jitter=0.3), ClassicAugmentation(crop=1)
    assert torch.equal(with_jitter(images[:, :1], draws(), "x"), without(images[:, :1], draws(), "x"))
    factors = with_jitter(images, draws(), "x") - without(images, draws(), "x")
    assert factors.abs().amax((1, 2, 3)).min() > 0


def test_undecided_flips_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"^augmentation\.flip=auto is decided by .*; set true or false$"):
        ClassicAugmentation(flip="auto")(images, draws(), "x")


def test_cutout_replaces_a_square_by_the_mean(images: torch.Tensor) -> None:
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.99]] + [[0.3, 0.3]] * 30)
    out = cut_out(images, centre, 4)
    means = images.mean((2, 3))
    assert torch.allclose(out[0, :, 2:6, 2:6], means[0, :, None, None].expand(3, 4, 4))
    assert torch.equal(out[0, :, :2], images[0, :, :2])
    assert int((out[1] != images[1]).any(0).sum()) <= 2 * 3
    assert torch.allclose(out[1, :, :2, 5:], means[1, :, None, None].expand(3, 2, 3))


def test_noise_has_its_standard_deviation() -> None:
    grey = torch.zeros(64, 1, 16, 16)
    out = ClassicAugmentation(noise=0.1)(grey, Draws(0, 0, 64, 0, 64), "x")
    assert float(out.std()) == pytest.approx(0.1, rel=0.03)


def test_strong_keeps_what_the_data_set_forbids(images: torch.Tensor) -> None:
    flat = StrongAugmentation(ClassicAugmentation(), rotate=0, scale=0, cutout=0, contrast=0, brightness=0)
    assert torch.allclose(flat(images, draws(), "x"), images, atol=1e-6)
    light = StrongAugmentation(ClassicAugmentation(), rotate=0, scale=0, cutout=0, contrast=0, brightness=0.3)(
        images * 0.5, draws(), "x"
    )
    change = light - images * 0.5
    assert torch.allclose(change, change.mean((1, 2, 3), keepdim=True).expand_as(change), atol=1e-6)
    assert float(change.abs().max()) <= 0.3


@pytest.mark.parametrize("name", ["rotate", "translate", "scale", "crop", "cutout", "noise", "color_jitter"])
def test_impossible_strengths_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: -1 must be in 0"):
        ClassicAugmentation(**{name: -1})
    with pytest.raises(ConfigError, match="contrast"):
        StrongAugmentation(ClassicAugmentation(), contrast=1.0)

"""Corruptions: every one at every severity and size, and the amounts that their definitions say."""

import io
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from trigan.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from trigan.rng import Draws

#: Those whose severities do not all change an image more than the one before, by the authors' own parameters.
UNORDERED = ("elastic_transform", "pixelate", "defocus_blur", "jpeg_compression")


@cache
def real_images(size: int, channels: int) -> Tensor:
    """Digits at another size, uint8 (12, C, S, S); of several channels each is another shade."""
    found = torch.tensor(load_digits().images[:12], dtype=torch.float32)[:, None] * 15.9
    resized = F.interpolate(found, size=size, mode="bilinear", align_corners=False)
    shades = torch.tensor([1.0, 0.7, 0.4])[:channels, None, None]
    return (resized * shades + 20.0 * (1.0 - shades)).round().to(torch.uint8)


def draws(count: int) -> Draws:
    return Draws.of_rows(1, 0, count)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (128, 3)])
def test_every_corruption_changes_images_of_every_size_more_with_severity(name: str, size: int, channels: int) -> None:
    images = real_images(size, channels)
    changes = []
    for severity in SEVERITIES:
        changed = corrupt(name, images, severity, draws(12))
        assert changed.dtype == torch.uint8
        assert changed.shape == images.shape
        changes.append(float((changed.float() - images.float()).abs().mean()))
    assert min(changes) > 0.0
    if name not in UNORDERED:
        assert changes == sorted(changes)
        assert changes[-1] > 1.3 * changes[0]
    assert changes[-1] < 128


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_any_batch(name: str) -> None:
    images = real_images(28, 1)
    together = corrupt(name, images, 4, draws(12))
    rows = torch.tensor([9, 2])
    alone = corrupt(name, images[rows], 4, Draws.of_indices(1, rows))
    assert (alone.int() - together[rows].int()).abs().max() <= 1  # a batched convolution may round otherwise


def test_noise_has_the_moments_of_its_definition() -> None:
    level = 102  # .4
    images = torch.full((40, 1, 32, 32), level, dtype=torch.uint8)
    for severity, scale in ((1, 0.04), (5, 0.10)):
        noise = corrupt("gaussian_noise", images, severity, draws(40)).double() / 255 - 0.4
        assert float(noise.std()) == pytest.approx(scale, rel=0.02)
    for severity, photons in ((1, 500), (5, 50)):
        noise = corrupt("shot_noise", images, severity, draws(40)).double() / 255
        assert float(noise.mean()) == pytest.approx(0.4, abs=0.002)
        assert float(noise.var()) == pytest.approx(0.4 / photons, rel=0.03)
    assert int(corrupt("shot_noise", torch.zeros_like(images), 5, draws(40)).max()) == 0  # no light, no noise
    salt = corrupt("impulse_noise", images, 5, draws(40))
    assert float((salt == 0).float().mean()) == pytest.approx(0.035, abs=0.003)
    assert float((salt == 255).float().mean()) == pytest.approx(0.035, abs=0.003)
    assert set(salt.unique().tolist()) == {0, level, 255}


def test_brightness_and_contrast_are_those_of_their_definition() -> None:
    image = torch.tensor([51, 102, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8).contiguous()
    brighter = corrupt("brightness", image, 4, draws(1))[0, :, 0, 0].tolist()  # value .4 -> .6, hue and saturation stay
    assert brighter == [76, 153, 0]
    black = corrupt("brightness", torch.zeros_like(image), 4, draws(1))
    assert black.unique().tolist() == [51]
    half = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    half[..., 4:] = 200
    assert corrupt("contrast", half, 2, draws(1)).unique().tolist() == [50, 150]


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"])
def test_blurs_and_displacements_leave_a_flat_image_as_it_is(name: str) -> None:
    images = torch.full((3, 1, 28, 28), 90, dtype=torch.uint8)
    for severity in SEVERITIES:
        assert corrupt(name, images, severity, draws(3)).unique().tolist() == [90]


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur"])
def test_blurs_are_as_wide_as_a_share_of_the_image(name: str) -> None:
    """The second moment of a blurred point grows as the square of the size, beside the pixel's own width."""
    widths = []
    for size in (32, 128):
        images = torch.zeros(60, 1, size, size)
        images[..., size // 2, size // 2] = 1.0
        found = CORRUPTIONS[name](images, 5, draws(60)).mean((0, 1))
        place = torch.arange(size) - size // 2
        mean = (found.sum(0) * place).sum() / found.sum()
        widths.append(float((found.sum(0) * (place - mean).square()).sum() / found.sum()) ** 0.5)
    assert widths[1] / widths[0] == pytest.approx(4.0, rel=0.15)


def test_jpeg_is_that_of_pillow_at_the_quality_of_the_authors() -> None:
    image = real_images(32, 3)[:1]
    buffer = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=58)
    expected = np.asarray(Image.open(buffer))
    assert np.array_equal(corrupt("jpeg_compression", image, 3, draws(1))[0].permute(1, 2, 0).numpy(), expected)

"""DiffAugment against the authors' formulas, and its choice by the number of images."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.discriminator_augmentation import (
    AdaptiveAugment,
    DiffAugment,
    WithFewImages,
    for_images,
    jitter_color,
)
from trigan.datasets.stream import to_float
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError
from trigan.rng import Draws


def draws(start: int = 0, stop: int = 32) -> Draws:
    return Draws(seed=1, step=4, total=32, start=start, stop=stop)


@pytest.fixture(scope="module")
def images(digits: ImageDataset) -> Tensor:
    grey = to_float(digits.images[:32])
    return torch.cat([grey, grey.flip(0), -grey], 1)


def test_colour_is_that_of_the_authors_code(images: Tensor) -> None:
    """rand_brightness, rand_saturation and rand_contrast of DiffAugment_pytorch.py, one image after the other."""
    uniform = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
    expected = []
    for x, (b, s, c) in zip(images, uniform, strict=True):
        x = x + (b - 0.5)
        mean = x.mean(dim=0, keepdim=True)
        x = (x - mean) * (s * 2) + mean
        mean = x.mean()
        expected.append((x - mean) * (c + 0.5) + mean)
    torch.testing.assert_close(jitter_color(images, uniform), torch.stack(expected))


def test_translation_moves_whole_pixels_and_fills_with_zero(images: Tensor) -> None:
    """Every image is one of the nine shifts by at most a pixel (an eighth of 8), and several shifts occur."""
    moved = DiffAugment(color=False, cutout=0.0)(images, draws(), "view")
    padded, seen = torch.nn.functional.pad(images, (1, 1, 1, 1)), set()
    for row in range(32):
        shifts = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if torch.allclose(moved[row], padded[row, :, i : i + 8, j : j + 8], atol=1e-6)
        ]
        assert shifts
        seen.update(shifts)
    assert len(seen) >= 6


def test_cutout_is_a_square_of_zeros_that_may_cross_the_border(images: Tensor) -> None:
    positive = images.abs() + 0.5
    cut = DiffAugment(color=False, translation=0.0)(positive, draws(), "view")
    sizes = set()
    for one, before in zip(cut, positive, strict=True):
        hole = (one == 0).all(0)
        rows, columns = hole.any(1).sum(), hole.any(0).sum()
        assert hole.sum() == rows * columns
        assert torch.equal(one[:, ~hole], before[:, ~hole])
        sizes.add((int(rows), int(columns)))
    assert max(sizes) == (4, 4)
    assert len(sizes) > 1


def test_gradients_flow_and_rows_are_independent(images: Tensor) -> None:
    augmentation = DiffAugment()
    leaf = images.clone().requires_grad_()
    whole = augmentation(leaf, draws(), "view")
    whole.square().sum().backward()
    assert leaf.grad is not None
    assert bool((leaf.grad.flatten(1).abs().sum(1) > 0).all())
    part = augmentation(images[8:20], draws(8, 20), "view")
    torch.testing.assert_close(part, whole.detach()[8:20])
    assert augmentation(images.double(), draws(), "view").dtype is torch.float64


ADA = {"interval": 1, "translation": 0.0, "scale": 0.0, "color": False}
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": lambda x: DiffAugment(translation=0.0, cutout=0.0)(x, draws(0, len(x)), "view"),
    "translation": lambda x: DiffAugment(color=False, cutout=0.0, translation=0.4)(x, draws(0, len(x)), "view"),
    "cutout": lambda x: DiffAugment(color=False, translation=0.0)(x, draws(0, len(x)), "view"),
    **{
        f"ada {name}": lambda x, change=change: AdaptiveAugment(**{**ADA, **change}).at(
            torch.tensor(0.7), x, draws(0, len(x)), "view"
        )
        for name, change in {
            "flip": {"flip": True},
            "quarter turns": {"quarter_turns": True},
            "translation": {"translation": 0.4},
            "scale": {"scale": 0.3},
            "rotation": {"rotate": 40.0},
            "color": {"color": True},
            "cutout": {"cutout": 0.5},
        }.items()
    },
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_gradient_of_each_operation_is_right(name: str) -> None:
    """Against differences in float64: the first derivative, and the second, which a penalty on D's gradient takes."""
    operation = OPERATIONS[name]
    leaf = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).sub_(0.5)
    changed = operation(leaf)
    assert not torch.allclose(changed, leaf)
    leaf.requires_grad_()
    assert torch.autograd.gradcheck(operation, (leaf,))
    assert torch.autograd.gradgradcheck(lambda x: operation(x).square(), (leaf,))


def test_ada_changes_images_with_its_probability(images: Tensor) -> None:
    many = images.repeat(32, 1, 1, 1)
    rows = Draws(seed=1, step=4, total=1024, start=0, stop=1024)
    for name, change, factor in (
        ("flip", {"flip": True}, 0.5),
        ("quarter_turns", {"quarter_turns": True}, 0.75),
        ("color", {"color": True}, 1.0),
        ("rotate", {"rotate": 45.0}, 1.0),
    ):
        augmentation = AdaptiveAugment(**{**ADA, **change})
        for probability in (0.0, 0.3, 1.0):
            changed = augmentation.at(torch.tensor(probability), many, rows, "view")
            share = float((changed != many).flatten(1).any(1).float().mean())
            expected = 1 - (1 - probability) ** 3 if name == "color" else probability * factor
            assert share == pytest.approx(expected, abs=0.05), name
    part = Draws(seed=1, step=4, total=1024, start=8, stop=20)
    half = AdaptiveAugment(flip=True, cutout=0.5)
    whole = half.at(torch.tensor(0.5), many, rows, "view")
    torch.testing.assert_close(half.at(torch.tensor(0.5), many[8:20], part, "view"), whole[8:20])


def test_a_quarter_turn_is_one_of_three(images: Tensor) -> None:
    turned = AdaptiveAugment(**ADA, quarter_turns=True).at(torch.tensor(1.0), images, draws(), "view")
    seen = set()
    for one, before in zip(turned, images, strict=True):
        (turn,) = [k for k in range(4) if torch.equal(one, before.rot90(k, (1, 2)))]
        seen.add(turn)
    assert seen == {0, 1, 2, 3}


def test_it_is_chosen_for_few_images() -> None:
    few = WithFewImages(DiffAugment(), below=100)
    assert for_images(few, 99) == DiffAugment()
    assert for_images(few, 100) == NoAugmentation()
    assert for_images(DiffAugment(), 100) == DiffAugment()
    with pytest.raises(ValueError, match="controller"):
        AdaptiveAugment()(torch.zeros(1, 1, 8, 8), draws(0, 1), "view")
    with pytest.raises(ValueError, match="for_images"):
        few(torch.zeros(1, 1, 8, 8), draws(0, 1), "view")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^translation: 1.5 must be in 0..1"):
        DiffAugment(translation=1.5)
    with pytest.raises(ConfigError, match=r"^below: 0 must be"):
        WithFewImages(DiffAugment(), 0)

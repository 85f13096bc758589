"""Each operation of RandAugment against the Python Imaging Library, on real images; then its draws."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images
from torch import Tensor

from trigan.datasets.augmentation import ClassicAugmentation
from trigan.datasets.randaugment import (
    OPERATIONS,
    RandAugment,
    TrivialAugment,
    apply_operations,
    fixmatch_amounts,
    to_levels,
    wide_amounts,
)
from trigan.datasets.stream import to_float
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError
from trigan.rng import Draws

STRENGTHS = [0.0, 0.11, 0.25, 0.4, 0.52, 0.63, 0.77, 0.9, 0.999]
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


@pytest.fixture(scope="module")
def photographs() -> dict[str, Tensor]:
    """12 pieces of 32 x 32 pixels of scikit-learn's two photographs, reduced to a quarter: uint8 (12, C, 32, 32)."""
    pieces = []
    for photograph in load_sample_images().images:
        whole = Image.fromarray(photograph)
        small = np.asarray(whole.resize((whole.width // 4, whole.height // 4), Image.Resampling.BOX))
        pieces += [small[top : top + 32, left : left + 32] for top in (8, 60) for left in (10, 60, 110)]
    colour = np.stack(pieces)
    grey = np.stack([np.asarray(Image.fromarray(piece).convert("L"))[:, :, None] for piece in colour])
    return {name: torch.tensor(value).permute(0, 3, 1, 2) for name, value in (("colour", colour), ("grey", grey))}


def operate(image: Image.Image, name: str, amount: float) -> Image.Image:
    """An operation by Pillow alone; ``amount``: a factor, a shear, pixels, degrees, a threshold or bits."""
    if name in ("brightness", "color", "contrast", "sharpness"):
        return getattr(ImageEnhance, name.capitalize())(image).enhance(amount)
    moves = {
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, amount, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, amount),
    }
    if name in moves:
        return image.transform(image.size, Image.Transform.AFFINE, moves[name])
    return {
        "identity": lambda: image,
        "auto_contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "rotate": lambda: image.rotate(amount),
        "solarize": lambda: ImageOps.solarize(image, amount),
        "posterize": lambda: ImageOps.posterize(image, int(amount)),
    }[name]()


def by_pillow(image: Image.Image, name: str, strength: float) -> Image.Image:
    """Table 12 of Sohn et al. 2020 (2001.07685), with the strength's place in each range."""
    signed = 2 * strength - 1
    amounts = {
        "rotate": 30 * signed,
        "shear": 0.3 * signed,
        "translate": 0.3 * signed * image.width,
        "solarize": 256 * strength,
        "posterize": 4 + int(5 * strength),
    }
    return operate(image, name, amounts.get(name.partition("_")[0], 0.05 + 0.9 * strength))


def expected(images: Tensor, name: str, strength: float) -> np.ndarray:
    pixels = images.permute(0, 2, 3, 1).numpy()
    done = [
        by_pillow(Image.fromarray(one.squeeze(-1) if one.shape[-1] == 1 else one), name, strength) for one in pixels
    ]
    return np.stack([np.asarray(one).reshape(pixels.shape[1:]) for one in done]).transpose(0, 3, 1, 2).astype(float)


def found(images: Tensor, name: str, strength: float) -> np.ndarray:
    operation = torch.full((len(images),), OPERATIONS.index(name))
    amount = fixmatch_amounts(operation, torch.full((len(images),), strength))
    return apply_operations(images.float(), operation, amount).numpy()


@pytest.mark.parametrize("colours", ["colour", "grey"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_equals_pillow(name: str, colours: str, photographs: dict[str, Tensor]) -> None:
    """Within one level, at every pixel; of a geometric operation at 99.5 % of them (ties of the nearest)."""
    images, changed = photographs[colours], 0.0
    for strength in STRENGTHS:
        want, got = expected(images, name, strength), found(images, name, strength)
        away = np.abs(want - got) > 1.0
        assert away.mean() <= (0.005 if name in GEOMETRIC else 0.0), (strength, away.mean(), np.abs(want - got).max())
        changed = max(changed, float(np.abs(want - images.numpy()).mean()))
    assert (changed < 0.5) == (name == "identity" or (name, colours) == ("color", "grey"))


def test_operations_on_digits_equal_pillow(digits: ImageDataset) -> None:
    """Images with few pixels and few levels, where a channel may have no step to equalize by."""
    images = digits.images[:24]
    for name in set(OPERATIONS) - set(GEOMETRIC):
        for strength in STRENGTHS:
            assert np.abs(expected(images, name, strength) - found(images, name, strength)).max() <= 1.0, name


def test_a_constant_image_stays_under_operations_on_its_histogram() -> None:
    images = torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)
    for name in ("auto_contrast", "equalize"):
        assert (found(images, name, 0.5) == 77).all()
        assert (expected(images, name, 0.5) == 77).all()


def test_each_image_has_its_own_operation(photographs: dict[str, Tensor]) -> None:
    images = photographs["colour"].repeat(2, 1, 1, 1)[: len(OPERATIONS)]
    strength = torch.linspace(0.05, 0.95, len(OPERATIONS))
    operations = torch.arange(len(OPERATIONS))
    together = apply_operations(images.float(), operations, fixmatch_amounts(operations, strength))
    for k, name in enumerate(OPERATIONS):
        alone = found(images[k : k + 1], name, float(strength[k]))
        assert np.array_equal(together[k : k + 1].numpy(), alone), name


def many() -> Draws:
    return Draws(seed=3, step=7, total=4200, start=0, stop=4200)


def test_operations_are_drawn_uniformly_and_applied_with_their_probability(photographs: dict[str, Tensor]) -> None:
    images = to_float(photographs["colour"][:1]).expand(4200, -1, -1, -1)

    def unchanged(probability: float) -> float:
        changed = RandAugment(ClassicAugmentation(), 1, probability, cutout=0.0)(images, many(), "s")
        return float((to_levels(changed) == to_levels(images)).flatten(1).all(1).float().mean())

    # identity, 8 bits, thresholds above all levels, and shifts and turns by less than half a pixel
    always = unchanged(1.0)
    assert 1 / 14 + 1 / 70 < always < 0.16
    assert unchanged(0.5) == pytest.approx(0.5 + always / 2, abs=0.03)
    assert unchanged(0.0) == 1.0


def test_two_operations_in_a_row_equal_pillow(photographs: dict[str, Tensor]) -> None:
    images = photographs["colour"]
    draws = Draws(5, 0, len(images), 0, len(images))
    result = to_levels(RandAugment(ClassicAugmentation(), 2, 1.0, 0.0)(to_float(images), draws, "s"))
    names, strengths = draws.integers("s/operation", len(OPERATIONS), 2), draws.uniform("s/strength", 2, 2)[:, :, 0]
    for i in range(len(images)):
        want = images[i : i + 1]
        for k in range(2):
            want = torch.tensor(expected(want, OPERATIONS[int(names[i, k])], float(strengths[i, k]))).to(torch.uint8)
        # a level of difference in the first operation may grow in the second one
        assert float((want.float() - result[i : i + 1]).abs().median()) <= 1.0


def test_no_operation_leaves_images_to_classic_and_cutout(photographs: dict[str, Tensor]) -> None:
    images = to_float(photographs["colour"])
    draws = Draws(0, 0, len(images), 0, len(images))
    torch.testing.assert_close(RandAugment(ClassicAugmentation(), 2, 0.0, 0.0)(images, draws, "s"), images)
    flipped = RandAugment(ClassicAugmentation(flip=True), 0, 1.0, 0.0)(images, draws, "s")
    torch.testing.assert_close(flipped, ClassicAugmentation(flip=True)(images, draws, "s"))
    grey = RandAugment(ClassicAugmentation(), 0, 1.0, 0.5)(images, draws, "s")
    replaced = (grey == 0.0).all(1) & (images != 0.0).any(1)
    assert 8 * 8 <= int(replaced.flatten(1).sum(1).min()) <= int(replaced.flatten(1).sum(1).max()) <= 16 * 16
    torch.testing.assert_close(torch.where(replaced[:, None], images, grey), images)


def test_levels_of_uint8_images_are_their_values(digits: ImageDataset) -> None:
    assert torch.equal(to_levels(to_float(digits.images)), digits.images.float())


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """As Lightning has it in a fit with trainer.precision=64-true."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
@pytest.mark.parametrize("kind", [RandAugment, TrivialAugment])
def test_double_precision(kind: Any, photographs: dict[str, Tensor]) -> None:
    images, draws = to_float(photographs["colour"][:1]).expand(60, -1, -1, -1), Draws(1, 0, 60, 0, 60)
    wide = kind(ClassicAugmentation())(images.double(), draws, "view")
    assert wide.dtype == torch.float64
    torch.set_default_dtype(torch.float32)
    same = (wide.float() - kind(ClassicAugmentation())(images, draws, "view")).abs() < 0.01
    assert float(same.float().mean()) > 0.99  # a pixel between two neighbours may be either


def test_images_that_need_a_gradient_are_refused() -> None:
    images = torch.zeros(2, 1, 8, 8, requires_grad=True)
    for augmentation in (RandAugment(ClassicAugmentation()), TrivialAugment(ClassicAugmentation())):
        with pytest.raises(ConfigError, match=r"^augmentation: .*no gradient .*take classic or strong$"):
            augmentation(images, Draws(0, 0, 2, 0, 2), "view")


@pytest.mark.parametrize("bad", [{"operations": -1}, {"probability": 1.1}, {"cutout": -0.1}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        RandAugment(ClassicAugmentation(), **bad)  # type: ignore[arg-type]


def trivial_by_pillow(image: Image.Image, name: str, level: int, sign: int) -> Image.Image:
    """The wide space of the authors' code (github.com/automl/trivialaugment, aug_lib.py)."""
    part = level / 30
    amounts = {
        "rotate": sign * int(level * 135 / 30),
        "shear": sign * 0.99 * part,
        "translate": sign * int(level * min(32, image.width) / 30),
        "solarize": 256 - int(level * 256 / 30),
        "posterize": 8 - int(level * 6 / 30),
    }
    return operate(image, name, amounts.get(name.partition("_")[0], part * (2.0 - 0.01) + 0.01))


@pytest.mark.parametrize("colours", ["colour", "grey"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_trivial_augment_equals_pillow_at_every_strength(
    name: str, colours: str, photographs: dict[str, Tensor]
) -> None:
    """As for RandAugment; the image itself at the strength at which an operation does nothing."""
    images = photographs[colours][:4]
    operation = torch.full((len(images),), OPERATIONS.index(name))
    for level in range(31):
        for sign in (1, -1):
            negative = torch.full((len(images),), sign < 0)
            amount = wide_amounts(operation, torch.full_like(operation, level), negative, 32)
            got = apply_operations(images.float(), operation, amount).numpy()
            want = np.stack(
                [
                    np.asarray(trivial_by_pillow(Image.fromarray(one.squeeze()), name, level, sign)).reshape(one.shape)
                    for one in images.permute(0, 2, 3, 1).numpy()
                ]
            ).transpose(0, 3, 1, 2)
            away = np.abs(want.astype(float) - got) > 1.0
            assert away.mean() <= (0.01 if name in GEOMETRIC else 0.0), (level, sign, away.mean())


def test_trivial_augment_draws_one_operation_of_each_strength_and_sign(photographs: dict[str, Tensor]) -> None:
    """Its images are those of the operation that its draws name, before a grey square of half the side."""
    images, draws = photographs["colour"].repeat(20, 1, 1, 1), Draws(3, 7, 240, 0, 240)
    operation = draws.integers("s/operation", len(OPERATIONS), 1)[:, 0]
    level = draws.integers("s/level", 31, 1)[:, 0]
    negative = draws.uniform("s/sign", 1)[:, 0] < 0.5
    assert set(operation.tolist()) == set(range(len(OPERATIONS)))
    assert set(level.tolist()) == set(range(31))
    want = apply_operations(images.float(), operation, wide_amounts(operation, level, negative, 32))
    classic = ClassicAugmentation(crop=4, flip=True)
    assert torch.equal(to_levels(TrivialAugment(ClassicAugmentation(), 0.0)(to_float(images), draws, "s")), want)
    first = to_levels(classic(to_float(images), draws, "s"))
    want = apply_operations(first, operation, wide_amounts(operation, level, negative, 32))
    whole = TrivialAugment(classic)(to_float(images), draws, "s")
    square = (whole == 0.0).all(1)  # no level is 0 in [-1, 1]
    assert torch.equal(to_levels(whole).where(~square[:, None], want), want)
    assert 8 * 8 <= int(square.flatten(1).sum(1).min()) <= int(square.flatten(1).sum(1).max()) <= 16 * 16


def test_no_shift_of_trivial_augment_is_longer_than_the_image() -> None:
    shifts = torch.full((31,), OPERATIONS.index("translate_x"))
    for size, longest in ((8, 1.0), (32, 1.0), (64, 0.5), (512, 1 / 16)):
        amounts = wide_amounts(shifts, torch.arange(31), torch.zeros(31, dtype=torch.bool), size)
        assert float(amounts.max()) == longest
        assert torch.equal(amounts * size, (amounts * size).round())

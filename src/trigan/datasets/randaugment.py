"""RandAugment (Cubuk et al. 2020, arXiv 1909.13719) as in FixMatch, and TrivialAugment (Müller & Hutter 2021).

Operations act on levels: float32 (N, C, S, S) with whole numbers in 0..255, one or three channels. They equal those of
the Python Imaging Library on uint8 images, for all images of a batch at once: each image has its own operation and
strength. Nothing here waits for the device.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import ClassicAugmentation, square_mask
from trigan.errors import ConfigError
from trigan.rng import Draws

#: In the order of the authors' code, from which the number of an operation is taken.
OPERATIONS = (
    *("identity", "auto_contrast", "equalize", "rotate", "solarize", "color", "contrast", "brightness"),
    *("sharpness", "shear_x", "translate_x", "translate_y", "posterize", "shear_y"),
)
_ENHANCE = ("brightness", "color", "contrast", "sharpness")
_SHEAR, _TRANSLATE = ("shear_x", "shear_y"), ("translate_x", "translate_y")
#: Strengths that TrivialAugment draws from, and pixels of its largest shift, as in the authors' code.
_LEVELS, _SHIFT = 31, 32


@component("augmentation/randaugment@1")
@dataclass(frozen=True)
class RandAugment:
    """The strong view of FixMatch: the classic augmentation, random operations, then cutout.

    Each of the ``operations`` is drawn uniformly, with replacement, with a strength uniform in the range of table 12:

    - brightness, color, contrast, sharpness: a factor in [.05, .95];
    - posterize: 4 to 8 bits; solarize: a threshold in [0, 256);
    - rotate: +-30 degrees, counter-clockwise; shear_x, shear_y: +-.3; translate_x, translate_y: +-.3 image sides;
    - auto_contrast, equalize, identity: no strength.

    Attributes:
        classic: before the operations: the weak augmentation (flip and crop in the paper).
        operations: how many in a row.
        probability: of each of them to be applied; 1/2 in the authors' code.
        cutout: side of a grey square as a fraction of the image, 1/2 in the authors' code; its centre is uniform and it
            may cross the border.
    """

    classic: ClassicAugmentation
    operations: int = 2
    probability: float = 0.5
    cutout: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.operations <= 16, "operations", self.operations, "in 0..16")
        require(0.0 <= self.probability <= 1.0, "probability", self.probability, "in [0, 1]")
        require(0.0 <= self.cutout <= 1.0, "cutout", self.cutout, "in [0, 1]")

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `trigan.datasets.augmentation.Augmentation`; a ConfigError for images that need a gradient."""
        levels = _levels_of(images, self.classic, draws, stream)
        if self.operations:
            drawn = draws.integers(f"{stream}/operation", len(OPERATIONS), self.operations)
            uniform = draws.uniform(f"{stream}/strength", self.operations, 2)
            applied = torch.where(uniform[:, :, 1] < self.probability, drawn, OPERATIONS.index("identity"))
            for k in range(self.operations):
                amount = fixmatch_amounts(applied[:, k], uniform[:, k, 0])
                levels = apply_operations(levels, applied[:, k], amount)
        return _with_square(levels, self.cutout, draws, stream).to(images.dtype)


@component("augmentation/trivial_augment@1")
@dataclass(frozen=True)
class TrivialAugment:
    """TrivialAugment (Müller & Hutter 2021, arXiv 2103.10158), wide space: nothing to tune.

    The classic augmentation, then one of the 14 operations, drawn uniformly, with a strength drawn uniformly from 31
    (`wide_amounts`), then cutout.

    Attributes:
        classic: before the operation: crop and flip in the paper.
        cutout: side of a grey square as a fraction of the image side, 1/2 in the paper for CIFAR; its centre is uniform
            and it may cross the border.
    """

    classic: ClassicAugmentation
    cutout: float = 0.5

    def __post_init__(self) -> None:
        require(0.0 <= self.cutout <= 1.0, "cutout", self.cutout, "in [0, 1]")

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `trigan.datasets.augmentation.Augmentation`; a ConfigError for images that need a gradient."""
        levels = _levels_of(images, self.classic, draws, stream)
        operation = draws.integers(f"{stream}/operation", len(OPERATIONS), 1)[:, 0]
        level = draws.integers(f"{stream}/level", _LEVELS, 1)[:, 0]
        negative = draws.uniform(f"{stream}/sign", 1)[:, 0] < 0.5
        amount = wide_amounts(operation, level, negative, images.shape[-1])
        levels = apply_operations(levels, operation, amount)
        return _with_square(levels, self.cutout, draws, stream).to(images.dtype)


def _levels_of(images: Tensor, classic: ClassicAugmentation, draws: Draws, stream: str) -> Tensor:
    """The levels of the images after the classic augmentation."""
    if images.requires_grad:
        raise ConfigError(
            "augmentation: RandAugment and TrivialAugment round to 256 levels, so G gets no gradient through them; as "
            "discriminator_augmentation take classic or strong"
        )
    return to_levels(classic(images, draws, stream))


def _with_square(levels: Tensor, cutout: float, draws: Draws, stream: str) -> Tensor:
    """Levels -> images in [-1, 1] with a grey square, its side a fraction of the image side."""
    result = levels / 127.5 - 1.0
    if side := round(cutout * levels.shape[-1]):
        hole = square_mask(draws.uniform(f"{stream}/square", 2), side, levels.shape[-1])
        result = torch.where(hole[:, None], 0.0, result)
    return result


def to_levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> the nearest levels, float32."""
    return ((images.float() + 1.0) * 127.5).round().clamp(0.0, 255.0)


def fixmatch_amounts(operation: Tensor, strength: Tensor) -> Tensor:
    """Amounts (N,) of operations (N,), at the place ``strength`` (N,) in [0, 1) of RandAugment's ranges."""
    signed = 2.0 * strength - 1.0
    amounts = {
        _ENHANCE: 0.05 + 0.9 * strength,
        ("posterize",): 4.0 + (5.0 * strength).floor(),
        ("solarize",): 256.0 * strength,
        ("rotate",): signed * (30.0 * math.pi / 180.0),
        (*_SHEAR, *_TRANSLATE): 0.3 * signed,
    }
    return _amounts(operation, strength, amounts)


def wide_amounts(operation: Tensor, level: Tensor, negative: Tensor, size: int) -> Tensor:
    """Amounts (N,) of operations (N,) in TrivialAugment's wide space, as in the authors' code (aug_lib.py).

    - brightness, color, contrast, sharpness: a factor of .01 to 2;
    - posterize: 8 to 2 bits; solarize: a threshold of 256 to 0;
    - rotate: up to 135 whole degrees; shear: up to .99; translate: up to 32 whole pixels, and at most the image side.

    Args:
        operation: numbers of operations, int64 (N,).
        level: int64 (N,) in 0..30.
        negative: bool (N,), the sign of rotations, shears and shifts.
        size: of the images, in pixels.
    """
    part, sign = level.float() / (_LEVELS - 1), 1.0 - 2.0 * negative.float()

    def whole(largest: int) -> Tensor:
        return (level * largest).div(_LEVELS - 1, rounding_mode="floor").float()

    amounts = {
        _ENHANCE: 0.01 + 1.99 * part,
        ("posterize",): 8.0 - whole(6),
        ("solarize",): 256.0 - whole(256),
        ("rotate",): sign * whole(135) * (math.pi / 180.0),
        _SHEAR: 0.99 * sign * part,
        _TRANSLATE: sign * whole(min(_SHIFT, size)) / size,
    }
    return _amounts(operation, part, amounts)


def _amounts(operation: Tensor, like: Tensor, amounts: Mapping[tuple[str, ...], Tensor]) -> Tensor:
    """Each image's amount, of its own operation; 0 of one that has none."""
    result = torch.zeros_like(like)
    for names, values in amounts.items():
        for name in names:
            result = torch.where(operation == OPERATIONS.index(name), values, result)
    return result


def apply_operations(levels: Tensor, operation: Tensor, amount: Tensor) -> Tensor:
    """One operation of `OPERATIONS` on each image.

    Args:
        levels: (N, C, S, S).
        operation: numbers of operations, int64 (N,).
        amount: float (N,): a factor, bits, a threshold, an angle in radians (counter-clockwise), or a shear or shift in
            image sides.
    """
    chosen = {name: (operation == number)[:, None, None, None] for number, name in enumerate(OPERATIONS)}
    moved = _resample(levels, operation, amount)
    geometric = chosen["rotate"] | chosen["shear_x"] | chosen["shear_y"]
    geometric = geometric | chosen["translate_x"] | chosen["translate_y"]
    amount = amount[:, None, None, None]
    changes = {
        "auto_contrast": auto_contrast(levels),
        "equalize": equalize(levels),
        "solarize": torch.where(levels < amount, levels, 255.0 - levels),
        "posterize": _posterize(levels, amount),
    }
    result = torch.where(geometric, moved, levels)
    for name, changed in changes.items():
        result = torch.where(chosen[name], changed, result)
    grey = _grey(levels)
    origin = torch.where(chosen["color"], grey, torch.zeros_like(levels))
    origin = torch.where(chosen["contrast"], (grey.mean((1, 2, 3), keepdim=True) + 0.5).floor(), origin)
    origin = torch.where(chosen["sharpness"], _smooth(levels), origin)
    blended = (origin + amount * (levels - origin)).floor().clamp(0.0, 255.0)
    enhanced = chosen["color"] | chosen["contrast"] | chosen["brightness"] | chosen["sharpness"]
    return torch.where(enhanced, blended, result)


def auto_contrast(levels: Tensor) -> Tensor:
    """Each channel stretched to 0..255; a constant channel stays."""
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    return torch.where(high > low, ((levels - low) * 255.0 / (high - low).clamp_min(1.0)).floor(), levels)


def equalize(levels: Tensor) -> Tensor:
    """Each channel with a flat histogram: level i becomes (step // 2 + pixels below i) // step, at most 255.

    ``step`` is a 255th of the pixels that are not of the highest level; a channel with step 0 stays.
    """
    pixels = levels.flatten(2).long()
    counts = pixels.new_zeros(*pixels.shape[:2], 256).scatter_add_(2, pixels, torch.ones_like(pixels))
    below = (counts.cumsum(2) - counts).gather(2, pixels).view(levels.shape)
    highest = counts.gather(2, pixels.amax(2, keepdim=True))[..., None]
    step = (pixels.shape[2] - highest) // 255
    flat = ((step // 2 + below) // step.clamp_min(1)).clamp_max(255)
    return torch.where(step > 0, flat.to(levels.dtype), levels)


def _posterize(levels: Tensor, bits: Tensor) -> Tensor:
    """Levels with their highest ``bits`` bits alone."""
    width = torch.exp2(8.0 - bits)
    return (levels / width).floor() * width


def _grey(levels: Tensor) -> Tensor:
    """Luma (N, 1, S, S) by the weights of ITU-R 601 in 1/65536, rounded."""
    if levels.shape[1] == 1:
        return levels
    weighted = levels[:, :1] * 19595.0 + levels[:, 1:2] * 38470.0 + levels[:, 2:] * 7471.0
    return ((weighted + 32768.0) / 65536.0).floor()


def _smooth(levels: Tensor) -> Tensor:
    """Mean of 3 x 3 pixels, the middle one with weight 5; pixels of the border stay."""
    columns = levels[..., :-2] + levels[..., 1:-1] + levels[..., 2:]
    inner = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:] + 4.0 * levels[:, :, 1:-1, 1:-1]
    result = levels.clone()
    result[:, :, 1:-1, 1:-1] = (inner / 13.0 + 0.5).floor()
    return result


def _resample(levels: Tensor, operation: Tensor, amount: Tensor) -> Tensor:
    """Rotated, sheared or shifted images: each pixel is the nearest one of the input, or black outside.

    The map from output to input is x' = a x + b y + c, y' = d x + e y + f, of positions in image sides from the top
    left corner; a rotation is about the centre.
    """
    is_a = {name: operation == number for number, name in enumerate(OPERATIONS)}
    zero = torch.zeros_like(amount)
    angle = torch.where(is_a["rotate"], -amount, zero)
    cos, sin = torch.cos(angle), torch.sin(angle)
    b = torch.where(is_a["shear_x"], amount, sin)
    d = torch.where(is_a["shear_y"], amount, -sin)
    # of a rotation, so that the middle stays where it is
    c = torch.where(is_a["translate_x"], amount, torch.where(is_a["rotate"], 0.5 * (1.0 - cos - sin), zero))
    f = torch.where(is_a["translate_y"], amount, torch.where(is_a["rotate"], 0.5 * (1.0 - cos + sin), zero))
    line = (torch.arange(levels.shape[-1], device=levels.device) + 0.5) / levels.shape[-1]
    x, y = line[None, None, :], line[None, :, None]
    a, b, c, d, e, f = (one[:, None, None] for one in (cos, b, c, d, cos, f))
    grid = torch.stack([a * x + b * y + c, d * x + e * y + f], 3) * 2.0 - 1.0
    return F.grid_sample(levels, grid.to(levels.dtype), mode="nearest", padding_mode="zeros", align_corners=False)

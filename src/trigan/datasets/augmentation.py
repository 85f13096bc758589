"""Classic augmentation: per sample, on the device, a pure function of (images, draws).

Pixels uncovered by a shift or rotation become black (-1).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.rng import Draws

BLACK = -1.0


class Augmentation(Protocol):
    """Transforms images at random."""

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """Images float32 (N, C, S, S) in [-1, 1] -> the same; ``stream`` names the random numbers."""


@component("augmentation/none@1")
@dataclass(frozen=True)
class NoAugmentation:
    """Leaves images unchanged."""

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """The images."""
        return images


@component("augmentation/classic@1")
@dataclass(frozen=True)
class ClassicAugmentation:
    """Affine, then crop and flip, colour jitter, cutout, and noise; a strength of 0 leaves its part out.

    Attributes:
        rotate: degrees, an angle uniform in +-rotate; 0 to 180.
        translate: pixels, each axis uniform in +-translate (not rounded).
        scale: a factor uniform in 1 +- scale; 0 to below 1.
        crop: pixels of padding before a random crop: a whole-pixel shift uniform in -crop..crop on each axis. Below 1
            it is a fraction of the image side, rounded to pixels.
        flip: mirror left to right with probability 1/2; ``auto`` becomes true or false by the labelled images of a
            trial (`trigan.datasets.mirror_check`).
        cutout: side in pixels of a square filled with the image's mean; its centre is uniform over the image and the
            square may cross the border (DeVries & Taylor 2017, arXiv 1708.04552).
        noise: standard deviation of Gaussian noise on each value, in units of [-1, 1]; the sum is clipped.
        color_jitter: factors of brightness, contrast and saturation, each uniform in 1 +- color_jitter, for images with
            three channels; 0 to 1.
    """

    rotate: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    crop: float = 0
    flip: bool | Literal["auto"] = False
    cutout: int = 0
    noise: float = 0.0
    color_jitter: float = 0.0

    def __post_init__(self) -> None:
        limits = {"rotate": 180.0, "translate": 128.0, "scale": 0.999, "crop": 128, "cutout": 128, "noise": 2.0}
        _check_strengths(self, {**limits, "color_jitter": 1.0})
        require(self.crop < 1 or self.crop == int(self.crop), "crop", self.crop, "whole pixels, or a fraction below 1")

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `Augmentation`."""
        if self.flip == "auto":
            raise ConfigError(
                "augmentation.flip=auto is decided by the labelled images of a run, and here is none; set true or false"
            )
        if self.rotate or self.translate or self.scale:
            images = affine(images, draws.uniform(f"{stream}/affine", 4), self.rotate, self.translate, self.scale)
        if self.crop or self.flip:
            crop = int(self.crop) if self.crop >= 1 else round(self.crop * images.shape[-1])
            images = crop_flip(images, draws.uniform(f"{stream}/crop", 3), crop, self.flip)
        if self.color_jitter and images.shape[1] == 3:
            images = color_jitter(images, draws.uniform(f"{stream}/color", 3), self.color_jitter)
        if self.cutout:
            images = cut_out(images, draws.uniform(f"{stream}/cutout", 2), self.cutout)
        if self.noise:
            noise = draws.normal(f"{stream}/noise", *images.shape[1:]).to(images.dtype)
            images = torch.add(images, noise, alpha=self.noise).clamp_(-1.0, 1.0)
        return images


@component("augmentation/strong@1")
@dataclass(frozen=True)
class StrongAugmentation:
    """A strong view in the manner of FixMatch (Sohn et al. 2020, arXiv 2001.07685): the classic one at more strength.

    Its strengths are added to the classic ones, so what a data set excludes there (flips, shifts) stays excluded.

    Attributes:
        classic: the data set's classic augmentation.
        rotate: additional degrees.
        scale: additional scale.
        cutout: side of the cutout square as a fraction of the image, 0 to 1; the classic side if that is larger.
        contrast: a factor uniform in 1 +- contrast about the image's mean; 0 to below 1.
        brightness: a shift uniform in +-brightness, in units of [-1, 1].
    """

    classic: ClassicAugmentation
    rotate: float = 15.0
    scale: float = 0.15
    cutout: float = 0.4
    contrast: float = 0.4
    brightness: float = 0.2

    def __post_init__(self) -> None:
        _check_strengths(self, {"rotate": 180.0, "scale": 0.999, "cutout": 1.0, "contrast": 0.999, "brightness": 2.0})

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `Augmentation`."""
        stronger = replace(
            self.classic,
            rotate=min(180.0, self.classic.rotate + self.rotate),
            scale=min(0.999, self.classic.scale + self.scale),
            cutout=max(self.classic.cutout, round(self.cutout * images.shape[-1])),
        )
        light = draws.uniform(f"{stream}/light", 2).mul(2).sub(1).to(images.dtype)[:, :, None, None, None]
        mean = images.mean((1, 2, 3), keepdim=True)
        lit = (images - mean) * (1 + self.contrast * light[:, 0]) + mean + self.brightness * light[:, 1]
        return stronger(lit.clamp_(-1.0, 1.0), draws, stream)


def _check_strengths(augmentation: object, limits: Mapping[str, float]) -> None:
    for name, limit in limits.items():
        value = getattr(augmentation, name)
        require(0 <= value <= limit, name, value, f"in 0..{limit}")


def affine(images: Tensor, uniform: Tensor, rotate: float, translate: float, scale: float) -> Tensor:
    """Rotate (degrees), scale and translate (pixels) about the centre by one bilinear resampling.

    ``uniform`` (N, 4) in [0, 1) draws angle, scale, shift right and shift down for images (N, C, S, S).
    """
    signed = uniform.to(images.dtype) * 2 - 1
    angle = signed[:, 0] * (rotate * math.pi / 180)
    factor = 1 + signed[:, 1] * scale
    shift = signed[:, 2:] * (2 * translate / images.shape[-1])
    # affine_grid takes the inverse map, from output to input pixels: of rotation, scale, then shift.
    cos, sin = torch.cos(angle) / factor, torch.sin(angle) / factor
    linear = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    theta = torch.cat([linear, -(linear @ shift[:, :, None])], 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # Zero padding pads with black once black is moved to zero.
    return F.grid_sample(images - BLACK, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + BLACK


def crop_flip(images: Tensor, uniform: Tensor, crop: int, flip: bool) -> Tensor:
    """Shift by whole pixels, up to ``crop`` on each axis, and mirror, by one flat gather of whole rows.

    One buffer holds the padded images and then their mirror images. In the view of all its windows of S values, each
    row of the result is one window, so one index moves S values (3 times as fast as a gather of pixels).
    ``uniform`` (N, 3) in [0, 1) draws row, column, and mirror if below 1/2, for images (N, C, S, S).
    """
    count, channels, size, _ = images.shape
    width = size + 2 * crop
    padded = images.new_full((2 if flip else 1, count, channels, width, width), BLACK)
    padded[0, :, :, crop : crop + size, crop : crop + size] = images
    if flip:
        padded[1, :, :, crop : crop + size, crop : crop + size] = images.flip(-1)
    windows = padded.view(-1).as_strided((padded.numel() - size + 1, size), (1, 1))
    offset = (uniform[:, :2] * (2 * crop + 1)).long()
    line = torch.arange(max(count * channels, size), device=images.device)
    plane = line[: count * channels].view(count, channels)
    if flip:
        plane = plane + (uniform[:, 2:] < 0.5) * (count * channels)
    rows = line[:size] + offset[:, :1]
    first = plane[:, :, None] * width**2 + (rows * width + offset[:, 1:])[:, None, :]
    return windows.index_select(0, first.flatten()).view(images.shape)


def color_jitter(images: Tensor, uniform: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation of images (N, 3, S, S), in this order, by factors in 1 +- ``strength``.

    Each is a mixture of the image with black, with its mean grey, or with its grey image, in 0..1, clipped: the
    enhancements of the Python Imaging Library. ``uniform`` (N, 3) in [0, 1) draws the factors.
    """
    factors = 1 + strength * (2 * uniform.to(images.dtype) - 1)
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    levels = ((images + 1) / 2 * brightness).clamp(0, 1)
    mean = luma(levels).mean((1, 2, 3), keepdim=True)
    levels = (mean + contrast * (levels - mean)).clamp(0, 1)
    grey = luma(levels)
    return (grey + saturation * (levels - grey)).clamp(0, 1) * 2 - 1


def luma(images: Tensor) -> Tensor:
    """Grey images (N, 1, S, S) of colour images (N, 3, S, S), by the weights of ITU-R 601."""
    return 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]


def cut_out(images: Tensor, uniform: Tensor, side: int) -> Tensor:
    """Replace a square of each image (N, C, S, S) by the image's mean, channel by channel.

    ``uniform`` (N, 2) in [0, 1) draws row and column of the centre.
    """
    hole = square_mask(uniform, side, images.shape[-1])
    return torch.where(hole[:, None], images.mean((2, 3), keepdim=True), images)


def square_mask(centres: Tensor, side: int | Tensor, size: int) -> Tensor:
    """Bool (N, size, size): squares of ``side`` pixels, an int or (N, 1), about centres (N, 2) in [0, 1), clipped."""
    first = (centres * size).long() - side // 2
    line = torch.arange(size, device=centres.device)
    inside = (line >= first[..., None]) & (line < (first + side)[..., None])
    return inside[:, 0, :, None] & inside[:, 1, None, :]

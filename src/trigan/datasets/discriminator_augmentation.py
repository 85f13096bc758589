"""Augmentation of all images that D sees, real and generated, for GANs on few images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation, crop_flip, square_mask
from trigan.rng import Draws


@component("augmentation/diffaugment@1")
@dataclass(frozen=True)
class DiffAugment:
    """DiffAugment (Zhao et al. 2020, arXiv 2006.10738), policy color + translation + cutout, as in the authors' code.

    Colour: a brightness shift uniform in +-0.5; then, about the mean of the channels, a saturation factor uniform in
    0..2; then, about the image's mean, a contrast factor uniform in 0.5..1.5. New pixels of the translation and the
    square of the cutout are 0, the middle of [-1, 1]. Gradients flow through all of it.

    Attributes:
        color: whether brightness, saturation and contrast change.
        translation: largest shift on each axis, by whole pixels, as a fraction of the image side, 0 to 1.
        cutout: side of the square as a fraction of the image side, 0 to 1.
    """

    color: bool = True
    translation: float = 0.125
    cutout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("translation", "cutout"):
            value = getattr(self, name)
            require(0.0 <= value <= 1.0, name, value, "in 0..1")

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """See `trigan.datasets.augmentation.Augmentation`."""
        size = images.shape[-1]
        if self.color:
            images = jitter_color(images, draws.uniform(f"{stream}/color", 3))
        if shift := int(self.translation * size + 0.5):
            # crop_flip pads with -1, so 0 is moved there
            images = crop_flip(images - 1.0, draws.uniform(f"{stream}/translation", 3), shift, flip=False) + 1.0
        if side := int(self.cutout * size + 0.5):
            hole = square_mask(draws.uniform(f"{stream}/cutout", 2), side, size)
            images = torch.where(hole[:, None], 0.0, images)
        return images


def jitter_color(images: Tensor, uniform: Tensor) -> Tensor:
    """Brightness, saturation and contrast of images (N, C, S, S), drawn by ``uniform`` (N, 3) in [0, 1)."""
    brightness, saturation, contrast = uniform.to(images.dtype)[:, :, None, None, None].unbind(1)
    images = images + (brightness - 0.5)
    channels = images.mean(1, keepdim=True)
    images = (images - channels) * (2.0 * saturation) + channels
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


@component("augmentation/few_images@1")
@dataclass(frozen=True)
class WithFewImages:
    """``augmentation``, for a GAN that is trained on fewer than ``below`` images; none for one that has more."""

    augmentation: Augmentation
    below: int = 5000

    def __post_init__(self) -> None:
        require_at_least("below", self.below, 1)

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """Not called: `for_images` resolves it when the number of images is known."""
        raise ValueError("an augmentation for few images needs for_images")


def for_images(augmentation: Augmentation, count: int) -> Augmentation:
    """The augmentation of a GAN that is trained on ``count`` images."""
    if not isinstance(augmentation, WithFewImages):
        return augmentation
    return augmentation.augmentation if count < augmentation.below else NoAugmentation()

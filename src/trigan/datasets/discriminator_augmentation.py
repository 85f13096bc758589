"""Augmentation of all images that D sees, real and generated, for GANs on few images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation, affine, crop_flip, square_mask
from trigan.errors import ConfigError
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


@component("augmentation/ada@1")
@dataclass(frozen=True)
class AdaptiveAugment:
    """Adaptive discriminator augmentation, ADA (Karras et al. 2020, arXiv 2006.06676): each change with probability p.

    p is the state of a `trigan.training.stages.gan_memories.AugmentationController`, which moves it every ``interval``
    updates of D. Where the paper's amounts are normal or log-normal, these are uniform; its filters and noise are left
    out, as in the authors' recommended pipeline. Flips and turns change what some images mean, so they are settings.

    Attributes:
        target: E sign D(x) of real images above which p rises, in 0..1.
        interval: updates of D between two changes of p.
        ramp_images: images in which p goes from 0 to 1.
        initial: p of the first update, 0 to 1.
        flip: mirror left to right, with probability p/2.
        quarter_turns: rotate by a random multiple of 90 degrees.
        translation: largest shift on each axis, by whole pixels, as a fraction of the image side, 0 to 1.
        scale: a factor uniform in 1 +- scale, 0 to below 1.
        rotate: degrees, an angle uniform in +-rotate, 0 to 180.
        color: brightness, saturation and contrast, as in `DiffAugment`, each by itself.
        cutout: side of a square of zeros as a fraction of the image side, 0 to 1.
    """

    target: float = 0.6
    interval: int = 4
    ramp_images: int = 500_000
    initial: float = 0.0
    flip: bool = False
    quarter_turns: bool = False
    translation: float = 0.125
    scale: float = 0.2
    rotate: float = 0.0
    color: bool = True
    cutout: float = 0.0

    def __post_init__(self) -> None:
        limits = {"target": 1.0, "initial": 1.0, "translation": 1.0, "scale": 0.999, "rotate": 180.0, "cutout": 1.0}
        for name, limit in limits.items():
            value = getattr(self, name)
            require(0.0 <= value <= limit, name, value, f"in 0..{limit}")
        for name in ("interval", "ramp_images"):
            require_at_least(name, getattr(self, name), 1)

    def __call__(self, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """Not called: the probability is the state of a controller, which calls `at`."""
        raise ValueError("an adaptive augmentation needs a controller")

    def at(self, probability: Tensor, images: Tensor, draws: Draws, stream: str) -> Tensor:
        """Images (N, C, S, S) after each change with ``probability`` (), drawn per image and change."""
        size = images.shape[-1]

        def where(name: str, changed: Tensor, share: float = 1.0) -> Tensor:
            chosen = draws.uniform(f"{stream}/{name}/chosen", 1, 1, 1) < probability * share
            return torch.where(chosen, changed, images)

        if self.flip:
            images = where("flip", images.flip(-1), 0.5)
        if self.quarter_turns:
            turns = draws.integers(f"{stream}/turns", 4, 1, 1, 1)
            turned = images
            for turn in (1, 2, 3):
                turned = torch.where(turns == turn, images.rot90(turn, (2, 3)), turned)
            images = where("turns", turned)
        if shift := int(self.translation * size + 0.5):  # crop_flip pads with -1, so 0 is moved there
            uniform = draws.uniform(f"{stream}/translation", 3)
            images = where("translation", crop_flip(images - 1.0, uniform, shift, flip=False) + 1.0)
        for name, rotate, scale in (("scale", 0.0, self.scale), ("rotate", self.rotate, 0.0)):
            if rotate or scale:
                uniform = draws.uniform(f"{stream}/{name}", 4)
                images = where(name, affine(images - 1.0, uniform, rotate, 0.0, scale) + 1.0)
        if self.color:
            chosen = draws.uniform(f"{stream}/color/chosen", 3) < probability
            uniform = torch.where(chosen, draws.uniform(f"{stream}/color", 3), 0.5)  # which changes nothing
            images = torch.where(chosen.any(1)[:, None, None, None], jitter_color(images, uniform), images)
        if side := int(self.cutout * size + 0.5):
            hole = square_mask(draws.uniform(f"{stream}/cutout", 2), side, size)
            images = where("cutout", torch.where(hole[:, None], 0.0, images))
        return images


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


def refuse_adaptive(augmentation: Augmentation) -> None:
    """Raise a ConfigError for an augmentation whose probability a GAN stage adapts, where there is no such stage."""
    inner = augmentation.augmentation if isinstance(augmentation, WithFewImages) else augmentation
    if isinstance(inner, AdaptiveAugment):
        raise ConfigError(
            "discriminator_augmentation=ada adapts to the D of a GAN stage (strategy=augment or features); set "
            "discriminator_augmentation=diffaugment, auto or none"
        )


def for_images(augmentation: Augmentation, count: int) -> Augmentation:
    """The augmentation of a GAN that is trained on ``count`` images."""
    if not isinstance(augmentation, WithFewImages):
        return augmentation
    return augmentation.augmentation if count < augmentation.below else NoAugmentation()

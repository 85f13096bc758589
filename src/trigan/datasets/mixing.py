"""Mixing of two images: an image and a partner from the same global batch become one, with a share of each label.

Row by row and on the device: the mixing coefficient is a function of the row's draws alone. The loss weighs an image's
own label by ``share``, or what `Mix.label_share` makes of it, and its partner's by the rest.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.augmentation import square_mask
from trigan.rng import DeviceStep, Draws


@dataclass(frozen=True)
class Mix(ABC):
    """Mixes images with partners.

    Attributes:
        alpha: of the mixing coefficient lam ~ Beta(alpha, alpha), drawn for each row.
        probability: of mixing a row.
    """

    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        require(0.0 < self.alpha < float("inf"), "alpha", self.alpha, "above 0")
        require(0.0 <= self.probability <= 1.0, "probability", self.probability, "in 0..1")

    @abstractmethod
    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Images and partners, float (N, C, S, S) in [-1, 1] -> mixed images, the same, and shares (N,) in [0, 1]."""

    def label_share(self, share: Tensor, own: Tensor, partners: Tensor) -> Tensor:
        """The weight of each image's own label (N,), by default the share of its pixels.

        ``own`` and ``partners`` are the numbers of labelled images in the classes of both, int64 (N,).
        """
        return share


@component("mix/mixup@1")
@dataclass(frozen=True)
class MixUp(Mix):
    """lam x_i + (1 - lam) x_j, lam ~ Beta(alpha, alpha): Zhang et al. 2018 (arXiv 1710.09412).

    The authors' code draws ``lam`` for each batch.
    """

    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        share = mixing_coefficients(draws, self.alpha, self.probability).to(images)
        lam = share[:, None, None, None]
        return lam * images + (1.0 - lam) * partners, share


@component("mix/remix@1")
@dataclass(frozen=True)
class Remix(MixUp):
    """MixUp whose label favours the rarer class: Chou et al. 2020 (arXiv 2007.03943), section 3.

    The label is that of the rarer class alone where the other class has at least ``ratio`` (kappa) times as many
    images and the rarer image a share of more than 1 - ``threshold`` (tau); else labels are mixed as the images.
    """

    ratio: float = 3.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.ratio >= 1.0, "ratio", self.ratio, "1 or more")
        require(0.0 <= self.threshold <= 1.0, "threshold", self.threshold, "in 0..1")

    def label_share(self, share: Tensor, own: Tensor, partners: Tensor) -> Tensor:
        """See `Mix.label_share`."""
        to_partner = (own >= self.ratio * partners) & (share < self.threshold)
        to_own = (partners >= self.ratio * own) & (1.0 - share < self.threshold)
        return torch.where(to_partner, 0.0, torch.where(to_own, 1.0, share))


@component("mix/cutmix@1")
@dataclass(frozen=True)
class CutMix(Mix):
    """A rectangle of the image is replaced by the partner's: Yun et al. 2019 (arXiv 1905.04899), eq. 1 and 2.

    Its sides are sqrt(1 - lam) of the image's, in whole pixels; its centre is uniform over the image, and it is clipped
    at the border. The share is the fraction of remaining pixels.
    """

    probability: float = 0.5

    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """See `Mix`."""
        lam = mixing_coefficients(draws, self.alpha, self.probability).to(images.device)
        size, centres = images.shape[-1], draws.uniform("mix/centre", 2, dtype=torch.float64)
        hole = square_mask(centres, (size * (1.0 - lam).sqrt()).round().long()[:, None], size)
        share = 1.0 - hole.to(images.dtype).mean((1, 2))
        return torch.where(hole[:, None], partners, images), share


def mixing_coefficients(draws: Draws, alpha: float, probability: float) -> Tensor:
    """Draw lam ~ Beta(alpha, alpha) with ``probability``, else 1: float64 (N,), on the CPU if the step's number is.

    The inverse distribution function takes one uniform number a row, independent of other rows; on the CPU, so that
    every device mixes alike.
    """
    from scipy.special import betaincinv  # no import of every run

    def of_step(step: int) -> Tensor:
        on_cpu = replace(draws, step=step, device=torch.device("cpu"))
        lam = torch.from_numpy(betaincinv(alpha, alpha, on_cpu.uniform("mix/share", dtype=torch.float64).numpy()))
        return torch.where(on_cpu.uniform("mix/chance", dtype=torch.float64) < probability, lam, torch.ones_like(lam))

    if isinstance(draws.step, DeviceStep):
        return draws.step.rows(lambda steps: torch.stack([of_step(step) for step in steps]))
    return of_step(draws.step)

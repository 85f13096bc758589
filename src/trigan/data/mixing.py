"""Mixing: an image and another of the same global batch become one, with a share of each label.

Row by row and on the device: how much of which is a function of the row's draws alone. A mixed image counts with
``share`` for its own label and with 1 - ``share`` for its partner's (:mod:`trigan.losses.classifier_losses`).
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from scipy.special import betaincinv
from torch import Tensor

from trigan.components import component
from trigan.errors import ConfigError
from trigan.rng import Draws


class Mix(Protocol):
    """Makes one image of two."""

    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Images and partners, float (N, C, S, S) in [-1, 1] -> mixed images, the same, and shares (N,) in [0, 1]."""
        ...


@component("mix/mixup@1")
@dataclass(frozen=True)
class MixUp:
    """lam x_i + (1 - lam) x_j, lam ~ Beta(alpha, alpha): Zhang et al. 2018 (arXiv 1710.09412).

    ``lam`` is drawn for each row, where the authors' code draws it for each batch. ``probability``: of mixing.
    """

    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        _require(self.alpha, self.probability)

    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        share = mixing_coefficients(draws, self.alpha, self.probability).to(images)
        own = share[:, None, None, None]
        return own * images + (1.0 - own) * partners, share


@component("mix/cutmix@1")
@dataclass(frozen=True)
class CutMix:
    """A rectangle of the image is the partner's: Yun et al. 2019 (arXiv 1905.04899), eq. 1 and 2.

    Its sides are sqrt(1 - lam) of the image's, lam ~ Beta(alpha, alpha), its centre is uniform over the image, and what
    sticks out is cut off. The share is that of the pixels left over. ``probability``: of a row to be mixed.
    """

    alpha: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        _require(self.alpha, self.probability)

    def __call__(self, images: Tensor, partners: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        lam = mixing_coefficients(draws, self.alpha, self.probability).to(images.device)
        hole = cutmix_mask(lam, draws.uniform("mix/centre", 2).double(), images.shape[-1])
        share = 1.0 - hole.to(images.dtype).mean((1, 2))
        return torch.where(hole[:, None], partners, images), share


def mixing_coefficients(draws: Draws, alpha: float, probability: float) -> Tensor:
    """Lam ~ Beta(alpha, alpha) with that ``probability``, else 1: float64 (N,) on the CPU.

    By the inverse of the distribution function, so that a row takes one uniform number, whatever the rows beside it; on
    the CPU, so that every device mixes alike.
    """
    here = replace(draws, device=torch.device("cpu"))
    uniform = here.uniform("mix/share").double()
    lam = torch.from_numpy(betaincinv(alpha, alpha, uniform.numpy()))
    return torch.where(here.uniform("mix/chance").double() < probability, lam, torch.ones_like(lam))


def cutmix_mask(lam: Tensor, centre: Tensor, size: int) -> Tensor:
    """Bool (N, size, size): squares of side round(size sqrt(1 - lam)) about centres (N, 2) in [0, 1), cut at edges."""
    side = (size * (1.0 - lam).sqrt()).round().long()[:, None]
    first = (centre * size).long() - side // 2
    line = torch.arange(size, device=lam.device)
    inside = (line >= first[..., None]) & (line < (first + side)[..., None])
    return inside[:, 0, :, None] & inside[:, 1, None, :]


def _require(alpha: float, probability: float) -> None:
    if not 0.0 < alpha < float("inf"):
        raise ConfigError(f"mix.alpha={alpha}: must be above 0")
    if not 0.0 <= probability <= 1.0:
        raise ConfigError(f"mix.probability={probability}: must lie in 0..1")

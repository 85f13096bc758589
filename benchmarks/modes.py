"""Mixtures of Gaussians in the plane, and how many of their modes samples have: shared by three benchmarks."""

import math

import torch
from torch import Tensor


def ring() -> Tensor:
    """Eight means on the unit circle, (8, 2)."""
    angles = torch.arange(8) * (2 * math.pi / 8)
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def grid(reach: float) -> Tensor:
    """Means on a 5 x 5 grid from ``-reach`` to ``reach``, (25, 2)."""
    line = torch.linspace(-reach, reach, 5)
    return torch.cartesian_prod(line, line)


def real_points(means: Tensor, deviation: float, count: int) -> Tensor:
    """Samples of the mixture, (count, 2)."""
    return means[torch.randint(len(means), (count,))] + deviation * torch.randn(count, 2)


def score(points: Tensor, means: Tensor, deviation: float, least: int) -> dict[str, float]:
    """Modes with at least ``least`` points within 3 sd, share of points there, and reverse KL to equal shares."""
    distance, nearest = torch.cdist(points, means).min(1)
    good = distance <= 3 * deviation
    counts = nearest[good].bincount(minlength=len(means))
    share = counts[counts > 0] / counts.sum().clamp_min(1)
    kl = float((share * (share * len(means)).log()).sum()) if len(share) else math.inf
    return {
        "modes": int((counts >= least).sum()),
        "high_quality": round(float(good.float().mean()), 4),
        "kl": round(kl, 4),
    }

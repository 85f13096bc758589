"""Filters by place: where a sample lies among the real labelled images of its class, in what C's last layer sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.components import component
from trigan.errors import ConfigError
from trigan.samples.filters import Judges, best_of_each, require_share_among


@component("filter/density@1")
@dataclass(frozen=True)
class Density:
    """Keep the ``share`` of the candidates of each class that lie where its real images are densest.

    The k-nearest-neighbour density (Loftsgaarden & Quesenberry 1965): the nearer the k-th nearest of the real images,
    the denser. A class of fewer than ``neighbours`` real images counts with all that it has. ``among``: of so many
    candidates, of all classes, at least; a share of a few would be one of each class.
    """

    neighbours: int = 5
    share: float = 0.5
    among: int = 1000

    asks = ("classifier",)

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)
        require_share_among(self.share, self.among)

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        found, (real, of) = judges.embed(images), judges.real
        scores = torch.full((len(images),), -torch.inf, dtype=torch.float64)
        for label in labels.unique().tolist():
            rows, members = labels == label, real[of == label]
            if len(members):
                far = _distances(found[rows], members)
                scores[rows] = -far.kthvalue(min(self.neighbours, len(members)), dim=1).values
        return best_of_each(scores, labels, self.share) & (scores > -torch.inf)


@component("filter/inside@1")
@dataclass(frozen=True)
class Inside:
    """Keep what lies in the ball of at least one real image of its class.

    The ball of a real image reaches to its k-th nearest neighbour among the other real images: NND_k of Naeem et al.
    2020 (arXiv 2002.09797), here of its own class. A class of k real images or fewer counts with the
    farthest of them; one real image has no ball, so nothing of its class is kept.
    """

    neighbours: int = 5

    among, asks = 1, ("classifier",)

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        found, (real, of) = judges.embed(images), judges.real
        kept = torch.zeros(len(images), dtype=torch.bool)
        radii = judges.once(self, lambda: _radii(real, of, self.neighbours)) * (1.0 + 1e-6)  # closed, for all rounding
        for label in labels.unique().tolist():
            rows, members = labels == label, of == label
            kept[rows] = (_distances(found[rows], real[members]) <= radii[members]).any(1)
        return kept


def _radii(real: Tensor, of: Tensor, neighbours: int) -> Tensor:
    """How far the ball of each real image reaches, (N,); less than nothing where it is the only one of its class."""
    radii = torch.full((len(real),), -1.0, dtype=torch.float64)
    for label in of.unique().tolist():
        members = of == label
        others = int(members.sum()) - 1
        if others:
            # the nearest of all is the image itself
            far = _distances(real[members], real[members])
            radii[members] = far.kthvalue(min(neighbours, others) + 1, dim=1).values
    return radii


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows (N, F) and (M, F), by |a - b|^2 = |a|^2 - 2ab + |b|^2.

    In double precision, and about the middle of the second, so that what cancels is small. As a matrix product it is
    fast, and counted.
    """
    middle = other.double().mean(0)
    a, b = one.double() - middle, other.double() - middle
    squares = a.square().sum(1)[:, None] - 2.0 * a @ b.T + b.square().sum(1)
    return squares.clamp(min=0.0).sqrt()


def _require_neighbours(neighbours: int) -> None:
    if neighbours < 1:
        raise ConfigError(f"neighbours: {neighbours} must be at least 1")

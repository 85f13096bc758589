"""Filters by place: where a sample lies among the real labelled images of its class, in what C's last layer sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.errors import ConfigError
from trigan.samples.filters import Judges, best_of_each


@dataclass(frozen=True)
class Density:
    """Keep the ``share`` of the candidates of each class that lie where its real images are densest.

    The k-nearest-neighbour density (Loftsgaarden & Quesenberry 1965): the nearer the k-th nearest of the real images,
    the denser. A class of fewer than ``neighbours`` real images counts with all that it has.
    """

    neighbours: int = 5
    share: float = 0.5

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)
        if not 0.0 < self.share <= 1.0:
            raise ConfigError(f"filter share {self.share} must be in (0, 1]")

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        found, (real, of) = judges.embed(images), judges.real
        scores = torch.full((len(images),), -torch.inf, dtype=torch.float64)
        for label in labels.unique().tolist():
            rows, members = labels == label, real[of == label]
            if len(members):
                far = _distances(found[rows], members)
                scores[rows] = -far.kthvalue(min(self.neighbours, len(members)), dim=1).values
        return best_of_each(scores, labels, self.share) & (scores > -torch.inf)


@dataclass(frozen=True)
class Inside:
    """Keep what lies in the ball of at least one real image of its class.

    The ball of a real image reaches to its k-th nearest neighbour among the other real images: NND_k of Naeem et al.
    2020 (arXiv 2002.09797), here of its own class. A class of k real images or fewer counts with the
    farthest of them; one real image has no ball, so nothing of its class is kept.
    """

    neighbours: int = 5

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)

    def keep(self, images: Tensor, labels: Tensor, judges: Judges) -> Tensor:
        found, (real, of) = judges.embed(images), judges.real
        kept = torch.zeros(len(images), dtype=torch.bool)
        for label in labels.unique().tolist():
            rows, members = labels == label, real[of == label]
            if len(members) > 1:
                # the nearest of all is the image itself, at distance 0
                reach = min(self.neighbours, len(members) - 1) + 1
                radii = _distances(members, members).kthvalue(reach, dim=1).values
                kept[rows] = (_distances(found[rows], members) <= radii).any(1)
        return kept


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows (N, F) and (M, F), in double precision, without the square's cancellation."""
    return torch.cdist(one.double(), other.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _require_neighbours(neighbours: int) -> None:
    if neighbours < 1:
        raise ConfigError(f"filter neighbours {neighbours} must be at least 1")

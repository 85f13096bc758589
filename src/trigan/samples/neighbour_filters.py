"""Filters by place: where a sample lies among the real labelled images of its class, in what C's last layer sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.components import component
from trigan.errors import ConfigError
from trigan.samples.filters import ScoringModels, require_fraction_and_candidates, top_fraction_per_class


@component("filter/density@1")
@dataclass(frozen=True)
class DensityFilter:
    """Keep the ``keep_fraction`` of the candidates of each class that lie where its real images are densest.

    The k-nearest-neighbour density (Loftsgaarden & Quesenberry 1965): the nearer the k-th nearest of the real images,
    the denser. A class of fewer than ``neighbours`` real images counts with all that it has. The fraction is taken of
    ``min_candidates`` candidates of all classes or more; of a few it would be one of each class.
    """

    neighbours: int = 5
    keep_fraction: float = 0.5
    min_candidates: int = 1000

    required_networks = ("classifier",)

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)
        require_fraction_and_candidates(self.keep_fraction, self.min_candidates)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        found, (real, of) = scoring_models.embed(images), scoring_models.real_features
        scores = torch.full((len(images),), -torch.inf, dtype=torch.float64)
        for label in labels.unique().tolist():
            rows, members = labels == label, real[of == label]
            if len(members):
                far = _distances(found[rows], members)
                scores[rows] = -far.kthvalue(min(self.neighbours, len(members)), dim=1).values
        return top_fraction_per_class(scores, labels, self.keep_fraction) & (scores > -torch.inf)


@component("filter/manifold@1")
@dataclass(frozen=True)
class ManifoldFilter:
    """Keep what lies in the ball of at least one real image of its class.

    The ball of a real image reaches to its k-th nearest neighbour among the other real images: NND_k of Naeem et al.
    2020 (arXiv 2002.09797), here of its own class. A class of k real images or fewer counts with the
    farthest of them; one real image has no ball, so nothing of its class is kept.
    """

    neighbours: int = 5

    min_candidates, required_networks = 1, ("classifier",)

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        found, (real, of) = scoring_models.embed(images), scoring_models.real_features
        kept = torch.zeros(len(images), dtype=torch.bool)
        radii = scoring_models.cached(self, lambda: _radii(real, of, self.neighbours)) * (
            1.0 + 1e-6
        )  # closed, for all rounding
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

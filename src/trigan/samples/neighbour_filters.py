"""Filters by distance to the real labelled images of a sample's class, in the input space of C's last layer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.components import component
from trigan.errors import ConfigError
from trigan.samples.filters import ScoringModels, TopFraction


@component("filter/density@1")
@dataclass(frozen=True)
class DensityFilter(TopFraction):
    """Keep the samples of each class with the highest density of real images.

    The k-nearest-neighbour density (Loftsgaarden & Quesenberry 1965) decreases with the distance to the k-th nearest
    real image; a class of fewer than ``neighbours`` real images uses all of them.
    """

    neighbours: int = 5

    required_networks = ("classifier",)

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_neighbours(self.neighbours)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `trigan.samples.filters.Filter.keep`."""
        features, (real, real_labels) = scoring_models.embed(images), scoring_models.real_features
        scores = torch.full((len(images),), -torch.inf, dtype=torch.float64)
        for label in set(labels.tolist()):
            rows, members = labels == label, real[real_labels == label]
            if len(members):
                distances = _distances(features[rows], members)
                scores[rows] = -distances.kthvalue(min(self.neighbours, len(members)), dim=1).values
        return self.best_of_each_class(scores, labels) & (scores > -torch.inf)


@component("filter/manifold@1")
@dataclass(frozen=True)
class ManifoldFilter:
    """Keep samples inside the ball of at least one real image of their class.

    The radius is the distance to the real image's k-th nearest neighbour among the others, here of its own class: NND_k
    of Naeem et al. 2020 (arXiv 2002.09797). A class of k real images or fewer uses the farthest of them; a single real
    image has no ball, so nothing of its class is kept.
    """

    neighbours: int = 5

    min_candidates, required_networks = 1, ("classifier",)

    def __post_init__(self) -> None:
        _require_neighbours(self.neighbours)

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        """See `trigan.samples.filters.Filter.keep`."""
        features, (real, real_labels) = scoring_models.embed(images), scoring_models.real_features
        radii = scoring_models.cached(self, lambda: _radii(real, real_labels, self.neighbours))
        radii = radii * (1.0 + 1e-6)  # the ball is closed, despite rounding
        kept = torch.zeros(len(images), dtype=torch.bool)
        for label in set(labels.tolist()):
            rows, members = labels == label, real_labels == label
            kept[rows] = (_distances(features[rows], real[members]) <= radii[members]).any(1)
        return kept


def _radii(real: Tensor, labels: Tensor, neighbours: int) -> Tensor:
    """Radius of the ball of each real image, (N,); negative for the only image of a class."""
    radii = torch.full((len(real),), -1.0, dtype=torch.float64)
    for label in set(labels.tolist()):
        members = labels == label
        others = int(members.sum()) - 1
        if others:
            distances = _distances(real[members], real[members])
            # the nearest of all is the image itself
            radii[members] = distances.kthvalue(min(neighbours, others) + 1, dim=1).values
    return radii


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) of rows (N, F) and (M, F), by |a - b|^2 = |a|^2 - 2ab + |b|^2.

    In double precision and centred on the mean of b, to limit cancellation. The matrix product is fast, and its FLOPs
    are counted.
    """
    centre = b.double().mean(0)
    a, b = a.double() - centre, b.double() - centre
    squares = a.square().sum(1)[:, None] - 2.0 * a @ b.T + b.square().sum(1)
    return squares.clamp(min=0.0).sqrt()


def _require_neighbours(neighbours: int) -> None:
    if neighbours < 1:
        raise ConfigError(f"neighbours: {neighbours} must be at least 1")

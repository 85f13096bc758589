"""Precision, recall, density and coverage: which images lie within balls around those of the other set."""

import torch
from torch import Tensor

from trigan.evaluation.generators.neighbours import distance_tiles, nearest

#: Neighbours that give a ball its radius: of precision and recall, and of density and coverage, as in their papers.
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5


def manifold_figures(
    real: Tensor,
    generated: Tensor,
    precision_neighbours: int = PRECISION_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
) -> dict[str, float]:
    """``precision``, ``recall`` (Kynkaanniemi et al. 2019, 1904.06991), ``density``, ``coverage`` (2002.09797).

    With open balls B_k(x) around each image, to its k-th nearest neighbour in its own set:

    - precision: share of generated images in a ball of a real one; recall: the same with the sets exchanged;
    - density: mean number of real balls that a generated image lies in, over k; may exceed 1;
    - coverage: share of real balls with a generated image.

    Args:
        real: (N, F), N above both numbers of neighbours.
        generated: (M, F), M above ``precision_neighbours``.
        precision_neighbours: k of precision and recall.
        density_neighbours: k of density and coverage.
    """
    most = max(precision_neighbours, density_neighbours)
    radii = nearest(real, real, most, same=True)[0]
    small, large = radii[:, precision_neighbours - 1], radii[:, density_neighbours - 1]
    own = nearest(generated, generated, precision_neighbours, same=True)[0][:, -1]
    inside, balls = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    closest = torch.full((len(real),), torch.inf, dtype=torch.float64)
    for part, tile in distance_tiles(generated, real):
        inside += int((tile < small).any(1).sum())
        balls += int((tile < large).sum())
        recalled |= (tile < own[part, None]).any(0)
        closest = torch.minimum(closest, tile.min(0).values)
    return {
        "precision": inside / len(generated),
        "recall": float(recalled.double().mean()),
        "density": balls / (density_neighbours * len(generated)),
        "coverage": float((closest < large).double().mean()),
    }

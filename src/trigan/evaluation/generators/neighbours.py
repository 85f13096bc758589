"""Nearest neighbours between two sets of features, in tiles: memory is linear in the number of images."""

from collections.abc import Iterator

import torch
from torch import Tensor

#: Distances in memory at once: 64 MiB in float64.
TILE = 2**23


def distance_tiles(queries: Tensor, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances of all pairs, float64, as (rows of ``queries``, tile (n, M)).

    By |a - b|^2 = |a|^2 - 2ab + |b|^2, centred on the mean of the points, which limits cancellation: equal vectors are
    about 1e-8 of their norm apart.

    Args:
        queries: (N, F).
        points: (M, F), M >= 1.
    """
    centre = points.double().mean(0)
    b = points.double() - centre
    b_squares = b.square().sum(1)
    rows = max(1, TILE // len(b))
    for start in range(0, len(queries), rows):
        part = slice(start, min(start + rows, len(queries)))
        a = queries[part].double() - centre
        squares = torch.addmm(b_squares[None, :], a, b.T, alpha=-2.0).add_(a.square().sum(1)[:, None])
        yield part, squares.clamp_(min=0.0).sqrt_()


def nearest(queries: Tensor, points: Tensor, k: int, same: bool = False) -> tuple[Tensor, Tensor]:
    """Distances (N, k), ascending, to the k nearest points of each query, and their indices (N, k).

    Args:
        queries: (N, F).
        points: (M, F), with at least k rows, or k + 1 if ``same``.
        k: 1 or more.
        same: the queries are the points, and none is its own neighbour.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> distances, indices = nearest(points, points, 1, same=True)
        >>> distances.squeeze(1).tolist(), indices.squeeze(1).tolist()
        ([1.0, 1.0, 2.0], [1, 0, 1])
    """
    found = []
    for part, tile in distance_tiles(queries, points):
        if same:
            tile[torch.arange(len(tile)), torch.arange(part.start, part.stop)] = torch.inf
        found.append(tile.topk(k, dim=1, largest=False, sorted=True))
    distances, indices = zip(*found, strict=True)
    return torch.cat(distances), torch.cat(indices)

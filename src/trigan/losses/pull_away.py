"""The pull-away term: G's samples should point apart.

Zhao et al. 2017 (1609.03126), section 2.4; as an estimate of G's entropy in Dai et al. 2017 (1705.09783), section 4.2.
"""

import torch.nn.functional as F
from torch import Tensor


def pull_away_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """What :func:`pull_away` needs of features (N, F), as means over rows, so that ranks can average theirs.

    With u the rows at unit length (a row of zeros stays one): E u u^T, (F, F), and E |u|^4, ().
    """
    unit = F.normalize(features, dim=1)
    return unit.T @ unit / len(unit), unit.square().sum(1).square().mean()


def pull_away(outer: Tensor, own: Tensor, count: int) -> Tensor:
    """1 / (N (N - 1)) sum over i != j of cos(f_i, f_j)^2, between 0 (all at right angles) and 1 (all on one line).

    The sum over all pairs is N^2 |E u u^T|^2 (Frobenius), less the N rows' squares with themselves.

    Args:
        outer, own: :func:`pull_away_moments` of the global batch.
        count: N >= 2, its rows.
    """
    return (count * outer.square().sum() - own) / (count - 1)

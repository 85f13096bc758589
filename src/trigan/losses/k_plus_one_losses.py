"""Semi-supervised GANs with K + 1 classes: Salimans et al. 2016 (1606.03498), Dai et al. 2017 (1705.09783).

The K logits l(x) of C define Z(x) = sum_k exp l_k(x); with the logit of the class "generated" fixed at 0, D(x) =
Z / (Z + 1) is the probability of a real image. Labelled rows add plain cross-entropy. E is the mean over rows; the
factors of 1/2 are those of the code of 1606.03498. f(x), (N, F), are the features of an inner layer.
"""

import torch.nn.functional as F
from torch import Tensor


def k_plus_one_real(logits: Tensor) -> Tensor:
    """-E log D(x) / 2 = E softplus(-log Z) / 2, logits (N, K) of unlabelled real images: 1606.03498, section 5."""
    return 0.5 * F.softplus(-logits.logsumexp(1)).mean()


def k_plus_one_generated(logits: Tensor) -> Tensor:
    """-E log(1 - D(x)) / 2 = E softplus(log Z) / 2, logits (N, K) of generated images: 1606.03498, section 5."""
    return 0.5 * F.softplus(logits.logsumexp(1)).mean()


def feature_matching(real_mean: Tensor, fake_mean: Tensor) -> Tensor:
    """mean_i (E f_i(x) - E f_i(G(z)))^2, means (F,): G's loss, 1606.03498, section 3.1, as in the authors' code.

    No gradient flows into the real mean.
    """
    return (real_mean.detach() - fake_mean).square().mean()


def absolute_feature_matching(real_mean: Tensor, fake_mean: Tensor) -> Tensor:
    """mean_i |E f_i(x) - E f_i(G(z))|: `feature_matching` as in the code of 1705.09783 for SVHN."""
    return (real_mean.detach() - fake_mean).abs().mean()


def pull_away_moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """The means over rows that `pull_away` takes, so that ranks can average theirs.

    With u the rows of ``features`` (N, F) at unit length (zeros stay zeros): E u u^T, (F, F), and E |u|^4, ().
    """
    unit = F.normalize(features, dim=1)
    return unit.T @ unit / len(unit), unit.square().sum(1).square().mean()


def pull_away(outer: Tensor, fourth: Tensor, count: int) -> Tensor:
    """1 / (N (N - 1)) sum_(i != j) cos(f_i, f_j)^2, in [0, 1]: Zhao et al. 2017 (1609.03126), section 2.4.

    G's loss; in 1705.09783, section 4.2, an estimate of its negative entropy. The sum over all pairs is N^2 times the
    squared Frobenius norm of E u u^T, from which the N pairs i = j are subtracted.

    Args:
        outer: E u u^T of the global batch, (F, F).
        fourth: E |u|^4 of the global batch, ().
        count: N >= 2, the rows of the global batch.
    """
    return (count * outer.square().sum() - fourth) / (count - 1)

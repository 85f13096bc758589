"""Distances between the distributions of two sets of features, and scores of predicted classes."""

import math

import torch
from torch import Tensor

from trigan.rng import permutation


def mean_and_covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and unbiased covariance (F, F), float64, of features (N, F), N >= 2."""
    values = features.double()
    mean = values.mean(0)
    centred = values - mean
    return mean, centred.T @ centred / (len(values) - 1)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T
    return root


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """FID: |m - n|^2 + tr(S + T - 2 (S T)^(1/2)) of two sets of features (Heusel et al. 2017, arXiv 1706.08500).

    The trace of the root is the sum of the singular values of S^(1/2) T^(1/2): no root of a matrix that is not
    symmetric, and exact where covariances are singular. It falls with the number of images: compare equal numbers.

    Args:
        real: (N, F), N >= 2.
        generated: (M, F), M >= 2.

    Returns:
        At least 0; 0 for equal means and covariances.
    """
    (m, s), (n, t) = mean_and_covariance(real), mean_and_covariance(generated)
    cross = torch.linalg.svdvals(_root(s) @ _root(t)).sum()
    return max(0.0, float((m - n).square().sum() + s.trace() + t.trace() - 2.0 * cross))


def kernel_distance(real: Tensor, generated: Tensor, subsets: int = 10, size: int = 1000, seed: int = 0) -> float:
    """KID: unbiased squared MMD with the kernel (ab / F + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401, section 3).

    Its mean over ``subsets`` random subsets of at most ``size`` images of both sets. Unbiased: it may be below 0.

    Args:
        real: (N, F), N >= 2.
        generated: (M, F), M >= 2.
        subsets: 1 or more; one, if it has all images.
        size: 2 or more.
        seed: of the subsets.
    """
    n = min(size, len(real), len(generated))
    count = 1 if n == len(real) == len(generated) else subsets
    values = []
    for number in range(count):
        rows = [
            permutation(len(one), seed, "kernel distance", number, i)[:n] for i, one in enumerate((real, generated))
        ]
        values.append(_squared_mmd(real[rows[0]].double(), generated[rows[1]].double()))
    return math.fsum(values) / count


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1.0).pow(3)

    n, within = len(x), [kernel(one, one) for one in (x, y)]
    off_diagonal = sum(float(matrix.sum() - matrix.trace()) for matrix in within)
    return off_diagonal / (n * (n - 1)) - 2.0 * float(kernel(x, y).mean())


def classwise_frechet_distance(
    real: Tensor, real_labels: Tensor, generated: Tensor, labels: Tensor
) -> dict[int, float]:
    """FID within each class that has at least two images in both sets (Benny et al. 2020, arXiv 2004.12361).

    Equal numbers in each class: the surplus of the larger set is left out.
    """
    found = {}
    for label in sorted(set(real_labels.tolist()) & set(labels.tolist())):
        a, b = real[real_labels == label], generated[labels == label]
        n = min(len(a), len(b))
        if n >= 2:
            found[label] = frechet_distance(a[:n], b[:n])
    return found


def class_score(logits: Tensor) -> float:
    """IS-clf: exp(E KL(p(y|x) || p(y))) with a classifier of these data (Salimans et al. 2016, arXiv 1606.03498).

    Args:
        logits: (N, K) of generated images.

    Returns:
        1 (one class, or no confidence) to K (confident, all classes equally often).
    """
    log_p = logits.double().log_softmax(1)
    p = log_p.exp()
    log_marginal = p.mean(0).clamp(min=1e-300).log()
    return math.exp(float((p * (log_p - log_marginal)).sum(1).mean()))


def modes_and_reverse_kl(predicted: Tensor, target: Tensor) -> tuple[int, float]:
    """Number of classes with an image, and sum of q log(q / p) over them, in nats (PacGAN, arXiv 1712.04086).

    Args:
        predicted: int64 (N,), classes of the generated images.
        target: (K,), the classes' shares p of the real images, each above 0 where q is.

    Returns:
        Infinity as divergence, if a class without real images has generated ones.
    """
    counts = torch.bincount(predicted, minlength=len(target)).double()
    q, p = counts / counts.sum(), target.double() / target.sum()
    present = q > 0
    return int(present.sum()), float((q[present] * (q[present] / p[present]).log()).sum())

"""Calibration: temperature scaling and the expected calibration error."""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from trigan.scores import CALIBRATION_BINS

#: Temperatures lie between 1/LIMIT and LIMIT times the mean margin of the largest score over the second.
LIMIT = 100.0


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Sum over bins of |bin| / N * |accuracy - confidence|, in [0, 1] (Guo et al. 2017, eq. 3).

    The top predictions are in `CALIBRATION_BINS` bins (lo, hi] of equal width by their confidence.

    Args:
        probabilities: (N, K), rows that sum to 1.
        labels: (N,) int64.
    """
    confidence, predicted = probabilities.detach().cpu().double().max(dim=1)
    correct = (predicted == labels.cpu()).double()
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    # With right=False, edges[i - 1] < value <= edges[i]; rounding may give a confidence a little over 1.
    index = (torch.bucketize(confidence, edges, right=False) - 1).clamp(0, CALIBRATION_BINS - 1)
    counts = torch.bincount(index).tolist()
    confidences, hits = (torch.bincount(index, weights=values).tolist() for values in (confidence, correct))
    gaps = [n * abs(hit / n - sure / n) for n, hit, sure in zip(counts, hits, confidences, strict=True) if n]
    return math.fsum(gaps) / len(labels)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean of -log softmax(logits)[label], in nats, computed in float64; logits (N, K), labels (N,)."""
    return float(torch.nn.functional.cross_entropy(logits.detach().cpu().double(), labels.cpu()))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 that minimises the negative log-likelihood of softmax(logits / T) (Guo et al. 2017, section 4.2).

    A bounded scalar search over log T, deterministic. Its bounds are relative to the margin of the largest score over
    the second, since an SVM's scores may be of any scale. Where every prediction is right the likelihood increases as T
    falls, and a small T is returned at which it is 1 to the last digit. T is 1 where the mean margin is 0.

    Args:
        logits: (N, K) scores of held-out or cross-validated images, N >= 1; an SVM's scores are allowed.
        labels: (N,) int64.
    """
    scores, targets = logits.detach().cpu().double(), labels.cpu()
    best, second = scores.topk(2, dim=1).values.mean(0).tolist()
    margin = best - second
    if margin <= 0.0:
        return 1.0
    result = minimize_scalar(
        lambda log_t: negative_log_likelihood(scores / math.exp(log_t), targets),
        bounds=(math.log(margin / LIMIT), math.log(margin * LIMIT)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(result.x))

"""Calibration: temperature scaling and the expected calibration error."""

import math
from typing import Any, Literal

import numpy as np
import torch
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
    from scipy.optimize import minimize_scalar  # see `trigan.tables.statistics.t_interval`

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


def fit_vector(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The w and b, float64 (K,) each, that minimise the loss of softmax(w z + b): vector scaling (Guo et al. 2017).

    L-BFGS from temperature scaling, deterministic. Where a few labels are all right the loss has no minimum, so w is
    bounded to `LIMIT` times that start, and b to `LIMIT`; the sum of b, which changes nothing, is 0.

    Args:
        logits: (N, K) scores of held-out images.
        labels: (N,) int64.
    """
    from scipy.optimize import minimize

    scores, targets = logits.detach().cpu().double(), labels.cpu()
    classes, start = scores.shape[1], 1.0 / fit_temperature(logits, labels)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        values = torch.from_numpy(parameters).requires_grad_()
        value = torch.nn.functional.cross_entropy(scores * values[:classes] + values[classes:], targets)
        (gradient,) = torch.autograd.grad(value, values)
        return float(value.detach()), gradient.numpy()

    first = np.concatenate([np.full(classes, start), np.zeros(classes)])
    bounds = [(start / LIMIT, start * LIMIT)] * classes + [(-LIMIT, LIMIT)] * classes
    found = torch.from_numpy(minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x)
    return found[:classes], found[classes:] - found[classes:].mean()


def scaled_scores(
    method: Literal["temperature", "vector"], fitted_on: tuple[Tensor, Tensor], logits: Tensor
) -> tuple[Tensor, dict[str, Any]]:
    """``logits`` (N, K) after a scaling that was fitted on other logits and labels, and its parameters as JSON data."""
    if method == "temperature":
        temperature = fit_temperature(*fitted_on)
        return logits.double() / temperature, {"temperature": temperature}
    weights, bias = fit_vector(*fitted_on)
    return logits.double() * weights + bias, {"weights": weights.tolist(), "bias": bias.tolist()}

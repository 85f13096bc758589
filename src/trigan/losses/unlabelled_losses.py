"""Losses of C on unlabelled images: adaptive thresholds, sharpened targets, mixed images and smoothness.

Notation: l are C's logits (N, K), p = softmax l; "weak" and "strong" are two views of the same images, and q = p of the
weak one. CE is cross-entropy, KL the Kullback-Leibler divergence, 1[.] is 1 where the condition holds and else 0. E is
the mean over all N rows, those of weight 0 included. No gradient flows through q, a pseudo-label or a weight.

Formulas were compared with the code that its authors published (FlexMatch, FreeMatch and SoftMatch: USB, Wang et al.
2022, 2208.07204; MixMatch, VAT, UDA: the repositories of the papers). Shapes don't depend on the data.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-12


def weighted_pseudo_labels(strong: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """E w CE(l_strong, y), logits (N, K), pseudo-labels y (N,), weights w (N,): FixMatch's eq. 4 with any weights."""
    return (F.cross_entropy(strong, labels, reduction="none") * weights.detach()).mean()


def flexmatch_thresholds(counts: Tensor, images: int, threshold: float) -> Tensor:
    """The threshold of each class, (K,), in [0, ``threshold``]: Zhang et al. 2021 (2110.08263).

    beta_k = s_k / max(max_j s_j, N - sum_j s_j), with the warm-up of the paper, and T_k = beta_k / (2 - beta_k)
    ``threshold``, its convex mapping.

    Args:
        counts: s, the images whose last confident prediction was each class, (K,).
        images: N, all unlabelled images.
        threshold: tau.

    Example:
        >>> flexmatch_thresholds(torch.tensor([4.0, 2.0]), images=8, threshold=0.9)
        tensor([0.9000, 0.3000])
    """
    unused = images - counts.sum()
    learnt = counts / torch.maximum(counts.max(), unused).clamp_min(1.0)
    return threshold * learnt / (2.0 - learnt)


def freematch_thresholds(threshold: Tensor, mean: Tensor) -> Tensor:
    """The self-adaptive threshold of each class, (K,): Wang et al. 2023 (2205.07246), eq. 7.

    t p_k / max_j p_j, with ``threshold`` t () and ``mean`` p (K,) the moving averages of max q and of q.
    """
    return threshold * mean / mean.max()


def fairness_loss(mean: Tensor, histogram: Tensor, strong_mean: Tensor, strong_histogram: Tensor) -> Tensor:
    """sum_k a_k log b_k, a = norm(mean / histogram), b = norm(strong_mean / strong_histogram): 2205.07246, eq. 11.

    All (K,), norm divides by the sum; a class that a histogram lacks has the ratio 0, as in the authors' code, which
    also adds 1e-12 to b. The loss is minus a cross-entropy, at most 0: minimising it moves b away from a. It is 0
    where the strong views have no selected image.

    Args:
        mean: moving average of q.
        histogram: moving average of the shares of the classes among the predictions on weak views.
        strong_mean: mean of 1[selected] p_strong over the global batch, with its gradient.
        strong_histogram: shares of the classes among the predictions on selected strong views, up to a factor.
    """
    expected, found = (_normalized(_ratio(*pair)) for pair in ((mean, histogram), (strong_mean, strong_histogram)))
    loss = (expected.detach() * (found + _TINY).log()).sum()
    return torch.where(strong_histogram.sum() > 0, loss, 0.0)


def _ratio(values: Tensor, histogram: Tensor) -> Tensor:
    present = histogram > 0
    return torch.where(present, values / torch.where(present, histogram, 1.0), 0.0)


def _normalized(values: Tensor) -> Tensor:
    return values / values.sum().clamp_min(_TINY)


def uniform_alignment(probabilities: Tensor, average: Tensor) -> Tensor:
    """norm(q / average), (N, K): SoftMatch's uniform alignment (Chen et al. 2023, 2301.10921, section 3.3).

    ``average`` (K,) is the moving average of q; 1e-6 is added to it as in the authors' code.
    """
    aligned = probabilities / (average + 1e-6)
    return aligned / aligned.sum(1, keepdim=True)


def softmatch_weights(confidence: Tensor, mean: Tensor, variance: Tensor, sigmas: float) -> Tensor:
    """exp(-min(c - m, 0)^2 / (2 v / s^2)), (N,): the truncated Gaussian of 2301.10921, section 3.2.

    ``confidence`` c (N,); ``mean`` m and ``variance`` v (), its moving averages. The authors' code narrows the Gaussian
    by ``sigmas`` s = 2, that is by a variance of v / 4.
    """
    return torch.exp(-(confidence - mean).clamp_max(0.0).square() / (2.0 * variance / sigmas**2))


def uda_loss(weak: Tensor, strong: Tensor, threshold: float, temperature: float) -> Tensor:
    """E 1[max q > b] KL(softmax(l_weak / T) || p_strong): UDA (Xie et al. 2020, 1904.12848, section 2.2 and eq. 1).

    Logits (N, K); ``threshold`` b in [0, 1) is compared with the probability before sharpening, as in the authors'
    code; ``temperature`` T above 0.
    """
    weak = weak.detach()
    selected = weak.softmax(1).amax(1) > threshold
    return (kl_divergence(weak / temperature, strong) * selected).mean()


def kl_divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax target || softmax logits) of each row, (N,), both (N, K)."""
    log_target = target.log_softmax(1)
    return (log_target.exp() * (log_target - logits.log_softmax(1))).sum(1)


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """norm(p^(1 / T)), (N, K): MixMatch (Berthelot et al. 2019, 1905.02249), eq. 7."""
    return (probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log() / temperature).softmax(1)


def mixmatch_losses(labelled: Tensor, targets: Tensor, unlabelled: Tensor, guesses: Tensor) -> tuple[Tensor, Tensor]:
    """The two losses of mixed images, (): 1905.02249, eq. 3 and 4.

    E CE(l, t) of the mixed labelled images, and E |g - p|^2 / K of the mixed unlabelled ones.

    Args:
        labelled: logits l of mixed labelled images, (N, K).
        targets: their mixed labels t, probabilities (N, K).
        unlabelled: logits of mixed unlabelled images, (M, K).
        guesses: their mixed labels g, probabilities (M, K).
    """
    cross_entropy = -(targets * labelled.log_softmax(1)).sum(1).mean()
    return cross_entropy, (unlabelled.softmax(1) - guesses).square().mean()

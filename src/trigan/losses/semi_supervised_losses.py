"""Losses of semi-supervised training: C's on mixed, unlabelled and generated images, and those of C with D or G.

Notation: l are C's logits (N, K), p = softmax l, CE is cross-entropy, 1[.] is 1 where the condition holds and else 0. E
is the mean over all N rows, those whose indicator is 0 included. Thresholds are compared with probabilities, never with
logits, and no gradient flows through a pseudo-label.

With K + 1 classes (Salimans et al. 2016, 1606.03498; Dai et al. 2017, 1705.09783) C is also D: Z(x) = sum_k exp l_k(x),
the logit of the class "generated" is fixed at 0, and D(x) = Z / (Z + 1) is the probability of a real image. The factors
of 1/2 are those of the code of 1606.03498. f(x), (N, F), are the features of an inner layer.

In Triple-GAN (Li et al. 2017, 1703.02291, algorithm 1, as in the authors' code) D judges pairs (image, label); alpha in
[0, 1] weights the pairs of C against those of G.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.losses.gan_losses import DiscriminatorLoss
from trigan.losses.unlabelled_losses import weighted_pseudo_labels


def conditional_entropy(logits: Tensor) -> Tensor:
    """E H[p(y|x)] = -E sum_k p_k log p_k, logits (N, K), between 0 (certain) and log K (uniform).

    Dai et al. 2017 (1705.09783), eq. 8; after Springenberg 2015 (1511.06390), also in the code of Triple-GAN
    (1703.02291).
    """
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()


def uniform_marginal_loss(mean: Tensor) -> Tensor:
    """-mean_k log E p_k, the cross-entropy of the uniform distribution against the mean prediction, at least log K.

    ``mean`` is E p over the global batch, (K,). In the code of Triple-GAN (1703.02291); after Springenberg 2015
    (1511.06390).
    """
    return -mean.clamp_min(torch.finfo(mean.dtype).tiny).log().mean()


def pi_model_loss(first: Tensor, second: Tensor) -> Tensor:
    """E ||p - p'||^2 / K on logits (N, K) of two views of each image: Laine & Aila 2017 (1610.02242), section 2.1.

    Gradients flow through both.
    """
    return (first.softmax(1) - second.softmax(1)).square().mean()


def sigmoid_ramp_up(progress: float) -> float:
    """exp(-5 (1 - t)^2), t = min(1, ``progress``), the weight of a consistency loss: 1610.02242, section 2.1."""
    return math.exp(-5.0 * (1.0 - min(1.0, progress)) ** 2)


def fixmatch_loss(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    """E 1[max p_weak >= t] CE(l_strong, argmax p_weak): Sohn et al. 2020 (2001.07685), eq. 4.

    Logits (N, K) of the weakly and of the strongly augmented views of the same images; ``threshold`` t in [0, 1].
    """
    confidence, labels = weak.detach().softmax(1).max(1)
    return weighted_pseudo_labels(strong, labels, confidence >= threshold)


def gated_label(logits: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """E 1[p_y > t] CE(l, y), logits (N, K), labels y (N,): EC-GAN's loss on generated images (Haque 2020, 2012.15864).

    y is argmax p in the paper, or the label given to G.
    """
    confidence = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1)
    return weighted_pseudo_labels(logits, labels, confidence > threshold)


def k_plus_one_real(logits: Tensor) -> Tensor:
    """-E log D(x) / 2 = E softplus(-log Z) / 2, logits (N, K) of unlabelled real images: 1606.03498, section 5."""
    return 0.5 * F.softplus(-logits.logsumexp(1)).mean()


def k_plus_one_generated(logits: Tensor) -> Tensor:
    """-E log(1 - D(x)) / 2 = E softplus(log Z) / 2, logits (N, K) of generated images: 1606.03498, section 5."""
    return 0.5 * F.softplus(logits.logsumexp(1)).mean()


def feature_matching(real_mean: Tensor, fake_mean: Tensor, absolute: bool = False) -> Tensor:
    """mean_i (E f_i(x) - E f_i(G(z)))^2, means (F,): G's loss, 1606.03498, section 3.1, as in the authors' MNIST code.

    With ``absolute`` differences, not squares, as in the authors' code for SVHN and CIFAR-10, and in that of 1705.09783
    for these data sets. No gradient flows into the real mean.
    """
    difference = real_mean.detach() - fake_mean
    return (difference.abs() if absolute else difference.square()).mean()


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


def latent_likelihood(latents: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """-E log q(z|G(z)) = E sum_i [log s_i + (z_i - m_i)^2 / (2 s_i^2)] without its constant: 1705.09783, section 4.2.

    q is normal with the mean m and standard deviation s that an encoder gives for an image, all (N, Z). A bound of the
    negative entropy of G's images; minimised by G and by the encoder.
    """
    return (log_deviation + 0.5 * ((latents - mean) * torch.exp(-log_deviation)).square()).sum(1).mean()


def pair_discriminator(
    loss: DiscriminatorLoss, real: Tensor, by_classifier: Tensor, by_generator: Tensor, alpha: float
) -> Tensor:
    """D's loss: alpha loss(l_r, l_c) + (1 - alpha) loss(l_r, l_g).

    Args:
        loss: an adversarial loss of D, the sum of a term in real and a term in fake logits.
        real: D's logits l_r of pairs that count as real, (N,).
        by_classifier: D's logits l_c of real images with the labels that C predicts, (N,).
        by_generator: D's logits l_g of the images that G generates for given labels, (N,).
        alpha: weight of C's pairs.
    """
    return alpha * loss(real, by_classifier) + (1.0 - alpha) * loss(real, by_generator)


def pair_classifier(probabilities: Tensor, discriminator_logits: Tensor, alpha: float) -> Tensor:
    """C's adversarial loss: alpha E sum_y p(y|x_u) softplus(-D(x_u, y)), over every label or the most likely one.

    The non-saturating form of algorithm 1's log(1 - D). With every label it is `integrate` in the authors' code. A
    single label has no gradient, so the loss can then only lower max p, most where D rejects the pair: without a term
    that favours certainty, such as the entropy in the authors' code, C's predictions become uniform.

    Args:
        probabilities: C's, of the L labels in the sum (K or 1) for unlabelled images, (N, L).
        discriminator_logits: D's logits of the same pairs, (N, L); they get no gradient.
        alpha: weight of C's pairs.
    """
    return alpha * (probabilities * F.softplus(-discriminator_logits.detach())).sum(1).mean()

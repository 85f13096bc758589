"""Signals of a collapsing generator: figures of a few hundred samples against training images, cheap enough for a fit.

Each is a function of features, such as those of `embeddings.random_conv`, or of D's logits. A reference holds the
training images, with `groups`: their labels, or clusters where there are no labels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trigan.evaluation.generators.manifold import DENSITY_NEIGHBOURS
from trigan.evaluation.generators.memorisation import duplicates
from trigan.evaluation.generators.neighbours import distance_tiles, nearest

#: Groups with fewer samples in expectation, and classes with fewer training images, are not watched.
LEAST_EXPECTED, LEAST_OF_CLASS = 10, 5
#: Coverage from which on a class or cluster without samples is lost, and not just not learnt yet.
RESEMBLANCE = 0.6


@dataclass(frozen=True)
class TrainingReference:
    """Training images as the samples are compared with them; make one by `of`.

    Attributes:
        features: (N, F).
        groups: int64 (N,), labels or clusters; -1: unknown.
        labelled: whether the groups are labels.
        spacing: (N,), distance of each image to its nearest neighbour.
        radii: (n,), distance of each of the first n images to its ``DENSITY_NEIGHBOURS``-th neighbour among them.
        centres: (K, F), means of the clusters; empty with labels.
    """

    features: Tensor
    groups: Tensor
    labelled: bool
    spacing: Tensor
    radii: Tensor
    centres: Tensor

    @staticmethod
    def of(features: Tensor, samples: int, groups: int, labels: Tensor | None = None) -> "TrainingReference":
        """The reference of ``features`` (N, F), N > ``DENSITY_NEIGHBOURS``, for as many ``samples`` in each look.

        Without ``labels`` (N,) the groups are ``groups`` clusters of k-means, with a fixed seed.
        """
        known, centres = labels, torch.empty(0, features.shape[1])
        if known is None:
            from sklearn.cluster import KMeans  # takes a second to import

            clusters = KMeans(min(groups, len(features)), n_init=1, random_state=0).fit(features.double().numpy())
            known = torch.from_numpy(clusters.labels_).long()
            centres = torch.from_numpy(clusters.cluster_centers_)
        first = features[:samples]
        radii = nearest(first, first, DENSITY_NEIGHBOURS, same=True)[0][:, -1]
        spacing = nearest(features, features, 1, same=True)[0].squeeze(1)
        return TrainingReference(features, known, labels is not None, spacing, radii, centres)

    @property
    def first(self) -> Tensor:
        """The features (n, F) that samples are compared with for coverage and diversity."""
        return self.features[: len(self.radii)]


def sample_signals(reference: TrainingReference, samples: Tensor, labels: Tensor | None = None) -> dict[str, float]:
    """All signals of ``samples`` (M, F); ``labels`` (M,) are those that a conditional G was given.

    ``coverage``, ``duplicates``, ``diversity`` and ``copy_distance``; with labels on both sides ``class_diversity``;
    where coverage is ``RESEMBLANCE`` or more also ``class_hits``, or without labels ``group_share``.
    """
    distances = torch.cat([tile for _, tile in distance_tiles(samples, reference.features)])
    signals = {
        "coverage": coverage(distances[:, : len(reference.radii)], reference.radii),
        "duplicates": duplicates(samples, reference.spacing),
        "diversity": diversity(reference.first, samples),
        "copy_distance": copy_distance(distances, reference.spacing),
    }
    resembles = signals["coverage"] >= RESEMBLANCE
    if labels is not None and reference.labelled:
        signals["class_diversity"] = class_diversity(reference.features, reference.groups, samples, labels)
        known = reference.groups >= 0
        if resembles and bool(known.any()):
            found = reference.groups[known][distances[:, known].argmin(1)]
            signals["class_hits"] = class_hits(labels, found)
    elif resembles and not reference.labelled:
        groups = torch.cdist(samples.double(), reference.centres.double()).argmin(1)
        signals["group_share"] = group_share(reference.groups, groups)
    return signals


def coverage(distances: Tensor, radii: Tensor) -> float:
    """Share of real balls with a sample (Naeem et al. 2020, 2002.09797, eq. 4): ``distances`` (M, n), ``radii`` (n,).

    Example:
        >>> coverage(torch.tensor([[0.1, 5.0], [0.2, 4.0]]), torch.tensor([1.0, 1.0]))
        0.5
    """
    return float((distances.min(0).values < radii).double().mean())


def spread(features: Tensor) -> float:
    """Root of the mean squared distance of the rows (N, F) to their mean, by N - 1: the trace of the covariance."""
    return float(features.double().var(0).sum().sqrt())


def diversity(real: Tensor, samples: Tensor) -> float:
    """Spread of the samples over that of real images; 0 for a constant G, 1 for the real distribution."""
    return spread(samples) / max(spread(real), 1e-12)


def class_diversity(real: Tensor, known: Tensor, samples: Tensor, labels: Tensor) -> float:
    """The least `diversity` of a class with ``LEAST_OF_CLASS`` training images and two samples; 1 if there is none.

    Intra-class diversity, as intra-FID (Miyato & Koyama 2018, 1802.05637) is class by class, with so few samples that
    a spread is all they tell.
    """
    found = [1.0]
    for label in sorted(set(labels.tolist())):
        own, drawn = real[known == label], samples[labels == label]
        if len(own) >= LEAST_OF_CLASS and len(drawn) >= 2:
            found.append(diversity(own, drawn))
    return min(found)


def class_hits(labels: Tensor, found: Tensor) -> float:
    """The least share, over the classes, of samples whose nearest labelled training image has the label given to G.

    GAN-test (Shmelkov et al. 2018, 1807.09499) by the nearest neighbour.
    """
    return min(float((found[labels == label] == label).double().mean()) for label in sorted(set(labels.tolist())))


def group_share(real: Tensor, samples: Tensor) -> float:
    """The least ratio, over the groups, of the samples' share to the real images'; 0: a mode is lost.

    The bins of Richardson & Weiss 2018 (NDB, 1805.12462). Groups with fewer than ``LEAST_EXPECTED`` samples in
    expectation are left out; 1 if there is no other.
    """
    count = int(max(real.max(), samples.max())) + 1
    expected = real.bincount(minlength=count) * (len(samples) / len(real))
    ratios = samples.bincount(minlength=count)[expected >= LEAST_EXPECTED] / expected[expected >= LEAST_EXPECTED]
    return float(ratios.min()) if len(ratios) else 1.0


def copy_distance(distances: Tensor, spacing: Tensor) -> float:
    """Median distance of samples to their nearest training image over that between training images; 0: copies.

    ``distances`` (M, N), ``spacing`` (N,). The data-copying test of Meehan et al. 2020 (2004.05675) as a ratio, so that
    no held-out image is needed.
    """
    return float(distances.min(1).values.median() / spacing.median().clamp_min(1e-12))


def discriminator_signals(real: Tensor, fake: Tensor, gradient: Tensor) -> dict[str, float]:
    """``real_accuracy``, ``fake_accuracy`` and ``gradient`` of a D, whatever its loss.

    Args:
        real: logits (n,) of real images.
        fake: logits (m,) of generated ones; the accuracies are those at the threshold halfway between the means.
        gradient: of G's loss with respect to the generated images (m, C, S, S); its root mean square is taken per image
            and averaged, and scaled by m, since the loss is a mean (Arjovsky & Bottou 2017, 1701.04862: it vanishes
            where D is perfect).
    """
    threshold = (real.mean() + fake.mean()) / 2
    return {
        "real_accuracy": float((real > threshold).double().mean()),
        "fake_accuracy": float((fake < threshold).double().mean()),
        "gradient": float(gradient.double().flatten(1).square().mean(1).sqrt().mean()) * len(gradient),
    }


def rounded(signals: dict[str, Any]) -> dict[str, float]:
    """The signals to six digits, as they are logged and recorded."""
    return {name: float(f"{value:.6g}") for name, value in signals.items()}

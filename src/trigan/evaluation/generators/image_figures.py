"""All figures of a set of generated images, with the stamp that says what they are comparable with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trigan.datasets.types import LabelledImages
from trigan.errors import DataError
from trigan.evaluation.generators.distributions import (
    class_score,
    classwise_frechet_distance,
    frechet_distance,
    kernel_distance,
    modes_and_reverse_kl,
)
from trigan.evaluation.generators.embeddings import Embedding
from trigan.evaluation.generators.manifold import DENSITY_NEIGHBOURS, manifold_figures
from trigan.evaluation.generators.memorisation import copying_figures, feature_likelihood_divergence
from trigan.rng import permutation

#: Fewest images of a set: more than the neighbours that a ball needs.
MIN_IMAGES = 2 * DENSITY_NEIGHBOURS
#: A generator copies, if its authenticity is below this share of that of further real images.
COPYING = 0.5


@dataclass(frozen=True, eq=False)
class Reference:
    """Real training images, divided for comparison; there is no test image among them.

    Attributes:
        real: uint8 (n, C, S, S), compared with as many generated ones.
        other: uint8 (n, C, S, S), further ones, compared with ``real`` for the floor.
        seen: uint8, those in which copies are looked for; ``real`` comes first.
        fingerprint: of the data set that they are from.
    """

    real: Tensor
    other: Tensor
    seen: Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.real)


def reference_from(training: Tensor, count: int, fingerprint: str, learnt: Tensor | None = None) -> Reference:
    """Divide training images into two disjoint sets of at most ``count``, in an order fixed by their number.

    Args:
        training: uint8 (N, C, S, S).
        count: most images of a set; it is at most N // 2, so that the floor has equal numbers.
        fingerprint: of the data set.
        learnt: rows that a generator saw for certain (the labelled ones); as many as fit are among the 2 n in which
            copies are looked for.

    Raises:
        DataError: there are fewer than ``2 * MIN_IMAGES``.
    """
    n = min(count, len(training) // 2)
    if n < MIN_IMAGES:
        raise DataError(f"{len(training)} real images: figures of a generator need at least {2 * MIN_IMAGES}")
    order = permutation(len(training), "reference")
    real, other = order[:n], order[n : 2 * n]
    learnt = torch.empty(0, dtype=torch.int64) if learnt is None else learnt
    seen = torch.cat([real, learnt[permutation(len(learnt), "seen")], other]).tolist()
    rows = torch.tensor(list(dict.fromkeys(seen))[: 2 * n])
    return Reference(training[real], training[other], training[rows], fingerprint)


def compare_sets(embedding: Embedding, reference: Reference, generated: Tensor) -> dict[str, Any]:
    """``figures`` of generated images, their ``floor``, and the stamp.

    The floor is what another n real training images have in place of the generated ones: no generator needs to be
    better. Figures of different stamps (``embedding``, ``images``, ``fingerprint``) are not comparable. Where
    ``copying`` is true, the distances are no merit: the samples are nearer to training images than these to each other.

    Args:
        embedding: in which all is measured.
        reference: n real training images, and others.
        generated: uint8 (n, C, S, S).

    Raises:
        DataError: the numbers differ.
    """
    if len(generated) != len(reference):
        raise DataError(f"{len(generated)} generated and {len(reference)} real images: figures need equal numbers")
    fake, other, seen = embedding(generated), embedding(reference.other), embedding(reference.seen)
    real = seen[: len(reference)]
    # the floor's images must not be among those in which copies are looked for
    figures = {**_distances(real, fake), **copying_figures(seen, fake)}
    floor = {**_distances(real, other), **copying_figures(real, other)}
    copying = figures["authenticity"] < COPYING * floor["authenticity"]
    stamp = {"embedding": embedding.stamp, "images": len(reference), "fingerprint": reference.fingerprint}
    return {**stamp, "figures": figures, "floor": floor, "copying": copying}


def _distances(real: Tensor, fake: Tensor) -> dict[str, float]:
    return {
        "fid": frechet_distance(real, fake),
        "kid": kernel_distance(real, fake),
        **manifold_figures(real, fake),
    }


def likelihood_figures(
    embedding: Embedding, reference: Reference, held_out: Tensor, generated: Tensor
) -> dict[str, float]:
    """``fld``: needs real images that the generator has not seen, uint8 (M, C, S, S)."""
    training = torch.cat([reference.real, reference.other])
    features = (embedding(one) for one in (training, held_out, generated))
    return {"fld": feature_likelihood_divergence(*features)}


def class_figures(logits: Tensor, real: Tensor) -> dict[str, float]:
    """``is_clf``, ``modes`` and ``reverse_kl`` by a classifier of the data.

    Args:
        logits: (N, K) of the generated images.
        real: int64 (M,), the classes of real training images.
    """
    target = torch.bincount(real, minlength=logits.shape[1])
    modes, divergence = modes_and_reverse_kl(logits.argmax(1), target)
    return {"is_clf": class_score(logits), "modes": modes, "reverse_kl": divergence}


def classwise_figures(
    embedding: Embedding, real: LabelledImages, generated: LabelledImages, names: Mapping[int, str]
) -> dict[str, Any]:
    """``classwise_fid``, the mean over classes with two or more images in both sets, and ``by_class``."""
    features = embedding(real.images), real.labels, embedding(generated.images), generated.labels
    found = classwise_frechet_distance(*features)
    mean = {"classwise_fid": sum(found.values()) / len(found)} if found else {}
    return {**mean, "by_class": {names[label]: value for label, value in found.items()}}

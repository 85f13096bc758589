"""Novelty: does C know images of classes that it was not trained on? Scores of single images, and their figures.

Every score is higher for images of known classes. l are the logits (N, K), f the features (N, F) before C's last layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from trigan.scores import ranking_by_class

#: The nearest labelled image that counts for the distance, or the farthest of fewer.
NEIGHBOUR = 5
#: The share of known images that is accepted where the false positives are counted.
ACCEPTED = 0.95


@dataclass(frozen=True)
class ImageOutputs:
    """What frozen networks give for a set of images.

    Attributes:
        logits: of C, float (N, K).
        features: the inputs of C's last layer, float (N, F); None: C has none.
        discriminator: logits of D, float (N,); None: the run has no D.
    """

    logits: Tensor
    features: Tensor | None = None
    discriminator: Tensor | None = None


@dataclass(frozen=True)
class NoveltyReference:
    """What the scores compare an image with: features of labelled training images with their labels, and of samples.

    ``features`` (N, F), ``labels`` int64 (N,), ``generated`` (M, F) or None.
    """

    features: Tensor
    labels: Tensor
    generated: Tensor | None = None


def image_scores(outputs: ImageOutputs, reference: NoveltyReference | None) -> dict[str, np.ndarray]:
    """Each score of every image, float64 (N,), by name.

    - ``max_softmax``: max_k p_k (Hendrycks & Gimpel 2017, 1610.02136, section 2);
    - ``max_logit``: max_k l_k (Hendrycks et al. 2022, 1911.11132);
    - ``energy``: log sum_k exp l_k (Liu et al. 2020, 2010.03759, eq. 4, at temperature 1, with the sign turned);
    - ``mahalanobis``: -min_k (f - m_k)^T S^-1 (f - m_k), with the means m of the labelled images of each class and
      their common covariance S, shrunk after Ledoit & Wolf 2004 (Lee et al. 2018, 1807.03888, eq. 2, last layer);
    - ``nearest_neighbours``: minus the distance of f / |f| to the fifth nearest of the labelled images (Sun et al.
      2022, 2204.06507, section 3, whose k grows with the training set);
    - ``discriminator``: D's logit of the image, without a label;
    - ``generated``: the probability that f is no generated image, by a logistic regression that has the labelled images
      of the K classes and, as a further class, as much weight of G's samples: generated "unknowns".
    """
    logits = outputs.logits.double()
    found = {
        "max_softmax": logits.softmax(1).amax(1).numpy(),
        "max_logit": logits.amax(1).numpy(),
        "energy": logits.logsumexp(1).numpy(),
    }
    if outputs.features is not None and reference is not None:
        found |= _feature_scores(outputs.features.double().numpy(), reference)
    if outputs.discriminator is not None:
        found["discriminator"] = outputs.discriminator.double().numpy()
    return found


def _feature_scores(features: np.ndarray, reference: NoveltyReference) -> dict[str, np.ndarray]:
    known, labels = reference.features.double().numpy(), reference.labels.numpy()
    classes, place = np.unique(labels, return_inverse=True)
    means = np.stack([known[labels == label].mean(0) for label in classes])
    precision = LedoitWolf(assume_centered=True).fit(known - means[place]).precision_
    shifted = features[:, None] - means
    distances = np.einsum("nkf,fg,nkg->nk", shifted, precision, shifted)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(known))).fit(_unit(known))
    found = {
        "mahalanobis": -distances.min(1),
        "nearest_neighbours": -neighbours.kneighbors(_unit(features))[0][:, -1],
    }
    if reference.generated is not None:
        generated = reference.generated.double().numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
        model.fit(np.concatenate([known, generated]), np.append(labels, np.full(len(generated), -1)))
        found["generated"] = 1.0 - model.predict_proba(features)[:, 0]  # the classes are sorted
    return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def novelty_figures(known: Mapping[str, np.ndarray], novel: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The block of a record: ``auroc`` and ``fpr`` by score, of images of known (N,) and of novel classes (M,).

    ``auroc``: the probability that a known image has the higher score, ties counting half. ``fpr``: the share of novel
    images at or above the highest threshold that at least 95 % of the known ones reach.

    Example:
        >>> novelty_figures({"energy": np.array([3.0, 2.0, 1.0])}, {"energy": np.array([1.0, 0.0])})["energy"]
        {'auroc': 0.9166666666666666, 'fpr': 0.5}
    """
    return {name: _figures(scores, novel[name]) for name, scores in known.items()}


def _figures(known: np.ndarray, novel: np.ndarray) -> dict[str, float]:
    scores, is_novel = np.concatenate([known, novel]), np.append(np.zeros(len(known)), np.ones(len(novel)))
    evidence, ones = np.stack([scores, -scores], 1), np.ones((1, len(scores)))
    auroc = ranking_by_class("auroc", evidence, is_novel.astype(np.int64), ACCEPTED, ones)[0, 0]
    threshold = np.sort(known)[::-1][int(np.ceil(ACCEPTED * len(known))) - 1]
    return {"auroc": float(auroc), "fpr": float((novel >= threshold).mean())}


def novelty_line(found: Mapping[str, Any]) -> str:
    """The AUROC of each score in one line."""
    scores = ", ".join(f"{name} {100 * one['auroc']:.1f} %" for name, one in found["scores"].items())
    return f"AUROC of {found['images']} images of held-out classes against {found['known']} known ones: {scores}"

"""Labels that are probably wrong, by the out-of-fold predictions of a simple probe (confident learning)."""

from dataclasses import dataclass

import numpy as np
import torch

from trigan.datasets.confident_learning import confident_classes
from trigan.datasets.host_images import portions
from trigan.datasets.splits.groups import group_numbers
from trigan.datasets.types import ImageDataset

#: Folds of the cross-validation; images that the probe sees at most; sides of its thumbnails; its features.
_FOLDS, _IMAGES, _SIDE, _FEATURES = 5, 5000, 16, 64


@dataclass(frozen=True)
class SuspiciousLabels:
    """What the probe found.

    Attributes:
        rows: images whose label is suspicious, by index in the data set, the most suspicious first.
        likely: the class that the probe holds for right, for each of ``rows``.
        checked: images that were looked at.
        accuracy: of the probe's out-of-fold predictions, against the given labels.
    """

    rows: tuple[int, ...]
    likely: tuple[int, ...]
    checked: int
    accuracy: float


def suspicious_labels(dataset: ImageDataset) -> SuspiciousLabels | None:
    """Labels of training images that disagree with out-of-fold predictions; the official test set is not read.

    Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068, section 3): t_j is the mean of the predicted
    probabilities p_j over the images that are labelled j. An image with label i is suspicious if the class with the
    largest p_j among those with p_j >= t_j is not i; suspicion is p_j - p_i. The probe is a logistic regression on
    principal components of thumbnails. Groups stay in one fold. Of large data sets evenly spaced images are checked.

    Returns:
        None if a class has fewer images, or groups of images, than there are folds.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inside = dataset.labels >= 0
    if dataset.official_test is not None:
        inside = inside & ~dataset.official_test
    rows = torch.nonzero(inside)[:, 0].numpy()
    rows = rows[:: max(1, -(-len(rows) // _IMAGES))]
    labels, known = dataset.labels.numpy()[rows], group_numbers(dataset)
    groups = np.arange(len(rows)) if known is None else known[rows]
    units = [len(np.unique(groups[labels == k])) for k in range(len(dataset.class_names))]
    if min(units) < _FOLDS:
        return None
    images = dataset.images[torch.from_numpy(rows)]
    pool = torch.nn.AdaptiveAvgPool2d(min(_SIDE, images.shape[-1]))
    x = torch.cat([pool(part.float()) for part in portions(images)]).flatten(1).numpy()
    features = min(_FEATURES, x.shape[1], len(x) * (_FOLDS - 1) // _FOLDS - 1)
    probe = make_pipeline(PCA(features, random_state=0), StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    p = cross_val_predict(probe, x, labels, groups=groups, cv=folds, method="predict_proba")
    confident = confident_classes(p, labels)
    likely = np.where(confident >= 0, confident, labels)
    suspicion = p[np.arange(len(p)), likely] - p[np.arange(len(p)), labels]
    found = np.flatnonzero(likely != labels)
    found = found[np.argsort(-suspicion[found], kind="stable")]
    accuracy = float((p.argmax(1) == labels).mean())
    return SuspiciousLabels(tuple(rows[found].tolist()), tuple(likely[found].tolist()), len(rows), accuracy)

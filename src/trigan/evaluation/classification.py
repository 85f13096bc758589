"""Metrics of a classifier on labelled images, as plain numbers for the record."""

from typing import Any

import torch
from torch import Tensor

from trigan.errors import DataError, TriganError
from trigan.evaluation.calibration import expected_calibration_error, negative_log_likelihood
from trigan.scores import SPECIFICITY, mean_of_known, probability_scores, ranking_scores


def classification_metrics(
    scores: Tensor, labels: Tensor, classes: int, probabilistic: bool, specificity: float | None = SPECIFICITY
) -> dict[str, Any]:
    """Accuracy and related metrics as JSON data: unrounded fractions in [0, 1].

    Args:
        scores: (N, K); the prediction is the largest score, the first of equal ones. Logits if ``probabilistic``.
        labels: (N,) int64 in 0..K-1.
        classes: K.
        probabilistic: whether softmax(scores) are probabilities.
        specificity: at which the sensitivity is taken, above 0 and below 1; None: the scores are one-hot classes, which
            rank no images.

    Returns:
        ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that are present (ACSA); ``macro_f1``, the
        mean F1 of the classes that are present or predicted; ``recall`` per class, None for an absent class;
        ``confusion``, counts with true classes as rows; ``n``; `ranking_scores`, unless the scores are classes; if
        ``probabilistic`` also ``nll`` (nats), ``ece`` and `probability_scores`.

    Raises:
        DataError: no images, shapes that don't match, or a label out of range.
        TriganError: a score is not finite.
    """
    scores, labels = scores.detach().cpu().double(), labels.detach().cpu().long()
    _check(scores, labels, classes)
    # the first of equal scores: torch.argmax of the scores may return any of them
    predicted = (scores == scores.max(dim=1, keepdim=True).values).to(torch.uint8).argmax(dim=1)
    confusion = torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    metrics = _from_confusion(confusion)
    if specificity is not None:
        metrics |= ranking_scores(scores.numpy(), labels.numpy(), probabilistic, specificity)
    if probabilistic:
        metrics["nll"] = negative_log_likelihood(scores, labels)
        metrics["ece"] = expected_calibration_error(scores.softmax(dim=1), labels)
        metrics |= probability_scores(scores.numpy(), labels.numpy())
    return metrics


def _check(scores: Tensor, labels: Tensor, classes: int) -> None:
    if scores.ndim != 2 or scores.shape[1] != classes or labels.shape != scores.shape[:1]:
        raise DataError(
            f"scores {tuple(scores.shape)} and labels {tuple(labels.shape)} should be (N, {classes}) and (N,)"
        )
    if len(labels) == 0:
        raise DataError("no images to evaluate on")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise DataError(f"labels to evaluate on lie in {labels.min()}..{labels.max()}, should be 0..{classes - 1}")
    bad = int((~scores.isfinite()).any(dim=1).sum())
    if bad:
        raise TriganError(f"the classifier's scores are not finite for {bad} of {len(labels)} images")


def _from_confusion(confusion: Tensor) -> dict[str, Any]:
    """The metrics that follow from the confusion matrix (K, K), rows true."""
    hits = confusion.diagonal().tolist()
    present, predicted = confusion.sum(dim=1).tolist(), confusion.sum(dim=0).tolist()
    total = sum(present)
    recall = [hit / count if count else None for hit, count in zip(hits, present, strict=True)]
    f1 = [2 * hit / (p + q) for hit, p, q in zip(hits, present, predicted, strict=True) if p + q]
    return {
        "accuracy": sum(hits) / total,
        "balanced_accuracy": mean_of_known(recall),
        "macro_f1": sum(f1) / len(f1),
        "recall": recall,
        "confusion": confusion.tolist(),
        "n": total,
    }

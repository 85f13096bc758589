"""The scores of a classifier and figures of a generator, by name and unit, and the scores that rank images.

The functions here are NumPy alone, so that a table recomputes from stored predictions what a run put into its record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A score of a classifier on labelled images.

    Attributes:
        percent: a fraction that is shown in percent, its differences in points; else it is in ``unit``.
        sign: 1.0 if higher is better, else -1.0.
        figure: of the generator, by its key in ``result.generator.figures`` of a record; empty: a score of C.
    """

    key: str
    label: str
    percent: bool = True
    sign: float = 1.0
    unit: str = "nats"
    figure: str = ""

    @property
    def heading(self) -> str:
        """The label with its unit: ``test accuracy, %``."""
        return f"{'' if self.figure else 'test '}{self.label}{', %' if self.percent else ''}"


METRICS = {
    metric.key: metric
    for metric in (
        Metric("accuracy", "accuracy"),
        Metric("balanced_accuracy", "balanced accuracy"),
        Metric("macro_f1", "macro F1"),
        Metric("geometric_mean", "geometric mean of recalls"),
        Metric("many_shot", "recall of classes with many labels"),
        Metric("medium_shot", "recall of classes with a medium number of labels"),
        Metric("few_shot", "recall of classes with few labels"),
        Metric("auroc", "AUROC"),
        Metric("average_precision", "average precision"),
        Metric("sensitivity", "sensitivity at a fixed specificity"),
        Metric("ece", "expected calibration error", sign=-1.0),
        Metric("nll", "negative log-likelihood", percent=False, sign=-1.0),
        Metric("adaptive_ece", "adaptive calibration error", sign=-1.0),
        Metric("brier", "Brier score", percent=False, sign=-1.0, unit="Brier"),
        Metric("aurc", "area under the risk-coverage curve", sign=-1.0),
    )
}
#: Figures of a run's generator, which a table takes as metric like a score.
GENERATOR_METRICS = {
    f"generator_{metric.figure}": metric
    for metric in (
        Metric("generator_fid", "FID of the generator", False, -1.0, "FID", "fid"),
        Metric("generator_kid", "KID of the generator", False, -1.0, "KID", "kid"),
        Metric("generator_precision", "precision of the generator", figure="precision"),
        Metric("generator_recall", "recall of the generator", figure="recall"),
        Metric("generator_density", "density of the generator", False, unit="density", figure="density"),
        Metric("generator_coverage", "coverage of the generator", figure="coverage"),
        Metric("generator_authenticity", "authenticity of the generator", figure="authenticity"),
        Metric("generator_copies", "copied training images", sign=-1.0, figure="copies"),
        Metric("generator_duplicates", "duplicates among samples", sign=-1.0, figure="duplicates"),
    )
}
#: Figures by classifiers that are trained on samples, which a record has with ``evaluation.generator_classifiers``.
CLASSIFIER_FIGURES = {
    f"generator_{metric.figure}": metric
    for metric in (
        Metric("generator_gan_train", "accuracy of C on samples alone (CAS)", figure="gan_train"),
        Metric("generator_gan_test", "accuracy on samples of C on real images", figure="gan_test"),
        Metric("generator_nas_100", "accuracy of C on real images and as many samples (NAS)", figure="nas_100"),
    )
}
#: Scores of attacked and corrupted test images, which a record has with ``evaluation.attacks`` and ``corruptions``.
ROBUSTNESS_METRICS = {
    metric.key: metric
    for metric in (
        Metric("robust_fgsm", "accuracy under FGSM"),
        Metric("robust_pgd", "accuracy under PGD"),
        Metric("robust_pgd_l2", "accuracy under PGD (L2)"),
        Metric("robust_auto", "accuracy under the ensemble of attacks"),
        Metric("robust_auto_l2", "accuracy under the ensemble of attacks (L2)"),
        Metric("corruption_accuracy", "mean accuracy under corruptions"),
    )
}
#: Scores of scaled probabilities, which a record has with ``evaluation.calibration``, by their key in ``calibrated``.
CALIBRATED_METRICS = {
    f"calibrated_{key}": replace(METRICS[key], key=f"calibrated_{key}", label=f"{METRICS[key].label}, calibrated")
    for key in ("ece", "adaptive_ece", "nll", "brier")
}
#: Scores of single images that tell known classes from others, which a record has with ``regime.held_out_classes``.
NOVELTY_SCORES = {
    "max_softmax": "the largest probability",
    "max_logit": "the largest logit",
    "energy": "the energy",
    "mahalanobis": "Mahalanobis distance",
    "nearest_neighbours": "distance to the nearest neighbours",
    "discriminator": "D's logit",
    "generated": "a class of generated images",
}
NOVELTY_METRICS = {
    metric.key: metric
    for name, words in NOVELTY_SCORES.items()
    for metric in (
        Metric(f"novelty_auroc_{name}", f"AUROC of novel classes by {words}"),
        Metric(f"novelty_fpr_{name}", f"novel images accepted beside 95 % of known ones, by {words}", sign=-1.0),
    )
}
#: What a generator that copies training images still has in a table: copies improve all other figures.
FIGURES_OF_COPIES = ("authenticity", "copies", "fld")
#: The share of samples that may be copies before a generator copies, beside that of real images.
MOST_COPIES = 0.05
#: What a table may show.
TABLE_METRICS = (
    METRICS | GENERATOR_METRICS | CLASSIFIER_FIGURES | ROBUSTNESS_METRICS | CALIBRATED_METRICS | NOVELTY_METRICS
)
#: The scores that rank images: one class against the rest, then the mean over classes.
RANKING = ("auroc", "average_precision", "sensitivity")
#: The scores that come from the recalls of classes and from their numbers of labels.
BY_RECALL = ("geometric_mean", "many_shot", "medium_shot", "few_shot")
#: What a recall of 0 counts as in the geometric mean, which would be 0 whatever the others are.
RECALL_FLOOR = 0.001
#: Defaults of ``evaluation.many_labels`` and ``few_labels`` (Liu et al. 2019, 1904.05160, section 5): a class with more
#: training labels than the first has many, one with fewer than the second few, and the others a medium number.
MANY_LABELS, FEW_LABELS = 100, 20
#: The scores of probabilities that came later than ``nll`` and ``ece``, see `probability_scores`.
PROBABILITY = ("adaptive_ece", "brier", "aurc")
#: Bins of both calibration errors (Guo et al. 2017, arXiv 1706.04599).
CALIBRATION_BINS = 15
#: The default of the setting ``evaluation.specificity``, at which the sensitivity is taken.
SPECIFICITY = 0.95
#: Defaults of the settings ``evaluation``, for records from before one of them.
EVALUATION_DEFAULTS: dict[str, object] = {
    "specificity": SPECIFICITY,
    "generator_images": 2000,
    "generator_classifiers": False,
    "attacks": [],
    "eps": [0.1],
    "eps_l2": [1.0],
    "attack_steps": 20,
    "corruptions": False,
    "robustness_images": 1000,
    "many_labels": MANY_LABELS,
    "few_labels": FEW_LABELS,
    "calibration": "none",
}


def copies_training_images(found: Mapping[str, Any]) -> bool:
    """Whether a generator with the figures ``found`` of a record copies training images, all the time or at times.

    By the authenticity of all samples (``copying``), or because more than ``MOST_COPIES`` of them are copies beside
    those that real images have: twice their share at most, since copies are looked for among twice as many images.
    """
    copies, of_real = (found[kind]["copies"] for kind in ("figures", "floor"))
    return bool(found["copying"] or copies > 2.0 * of_real + MOST_COPIES)


def robustness_score(found: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    """A score of ``ROBUSTNESS_METRICS`` in a record's block ``robustness``, and the eps of its attack.

    Of several sizes the first one of the run's settings counts. None: not in the record; corruptions have no eps.
    """
    if key == "corruption_accuracy":
        return found.get(key), None
    tried = (one for one in found.get("attacks", ()) if f"robust_{one['attack']}" == key)
    first = next(tried, None)
    return (None, None) if first is None else (first["accuracy"], first["eps"])


def novelty_score(found: Mapping[str, Any], key: str) -> float | None:
    """A score of ``NOVELTY_METRICS`` in a record's block ``novelty``; None: not in the record."""
    _, figure, name = key.split("_", 2)
    value: float | None = found.get("scores", {}).get(name, {}).get(figure)
    return value


def class_evidence(scores: np.ndarray, probabilistic: bool) -> np.ndarray:
    """What ranks images for each class, float64 (N, K): the scores, or for logits the log-odds of their softmax.

    log p_k / (1 - p_k) orders images as p_k does, but never saturates: p_k is 1.0 for every margin above 37.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not probabilistic:
        return values
    top = np.arange(len(values)), values.argmax(axis=1)
    shifted = values - values[top][:, None]
    others = shifted.copy()
    others[top] = -np.inf
    tail = np.exp(others)  # without the largest, which is 1
    rest = np.log1p(tail.sum(axis=1, keepdims=True) - tail)
    rest[top] = np.logaddexp.reduce(others, axis=1)
    return np.asarray(shifted - rest)


def ranking_by_class(
    metric: str, evidence: np.ndarray, labels: np.ndarray, specificity: float, weights: np.ndarray
) -> np.ndarray:
    """A score of ``RANKING`` for each class against the rest, (B, K); NaN for a class that has no or all images.

    With the true and false positives at each distinct threshold, from high to low:

    - ``auroc``: area under the curve of sensitivity over 1 - specificity, by trapezoids, so that ties count half
      (Hanley and McNeil 1982);
    - ``average_precision``: sum of (R_n - R_{n-1}) P_n with recall R and precision P, as scikit-learn has it;
    - ``sensitivity``: the largest recall at a threshold whose specificity is at least ``specificity``.

    Args:
        metric: one of ``RANKING``.
        evidence: (N, K), see `class_evidence`.
        labels: (N,) in 0..K-1.
        specificity: above 0 and below 1.
        weights: (B, N), how often each image counts: ones, or the counts of B resamples.
    """
    of_class = [_ranking(metric, evidence[:, k], labels == k, specificity, weights) for k in range(evidence.shape[1])]
    return np.stack(of_class, axis=1)


def _ranking(
    metric: str, evidence: np.ndarray, positive: np.ndarray, specificity: float, weights: np.ndarray
) -> np.ndarray:
    order = np.argsort(-evidence, kind="stable")
    ordered = weights[:, order].astype(np.float64)
    last_of_ties = np.append(np.flatnonzero(np.diff(evidence[order])), len(order) - 1)
    counts = (np.cumsum(ordered * kind[order], axis=1)[:, last_of_ties] for kind in (positive, ~positive))
    hits, alarms = (np.pad(count, ((0, 0), (1, 0))) for count in counts)
    positives, negatives = hits[:, -1:], alarms[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / positives
        if metric == "auroc":
            pairs = (np.diff(alarms, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(axis=1)
            value = pairs / (positives * negatives)[:, 0]
        elif metric == "average_precision":
            precision = np.nan_to_num(hits / (hits + alarms))
            value = (np.diff(recall, axis=1) * precision[:, 1:]).sum(axis=1)
        else:
            allowed = (negatives - alarms) / negatives >= specificity
            value = np.where(allowed, recall, 0.0).max(axis=1)
    return np.where((positives > 0) & (negatives > 0), value[:, None], np.nan)[:, 0]


def ranking_scores(
    scores: np.ndarray, labels: np.ndarray, probabilistic: bool, specificity: float = SPECIFICITY
) -> dict[str, Any]:
    """The scores of ``RANKING`` as JSON data, the ``specificity``, and each score ``by_class``.

    A class without test images, or with all of them, has None and is left out of the mean; a score is None if no class
    has a value. For two classes the areas are equal, and the other scores are the mean over both classes as positives.

    Args:
        scores: (N, K).
        labels: (N,) in 0..K-1.
        probabilistic: whether the scores are logits, whose softmax are probabilities.
        specificity: above 0 and below 1.
    """
    evidence, ones = class_evidence(scores, probabilistic), np.ones((1, len(labels)))
    found: dict[str, Any] = {"specificity": specificity, "by_class": {}}
    for name in RANKING:
        (values,) = ranking_by_class(name, evidence, labels, specificity, ones).tolist()
        by_class = [None if np.isnan(value) else value for value in values]
        found[name] = mean_of_known(by_class)
        found["by_class"][name] = by_class
    return found


def scores_by_recall(
    recalls: np.ndarray, counts: Sequence[int], many: int = MANY_LABELS, few: int = FEW_LABELS
) -> dict[str, np.ndarray]:
    """The scores of ``BY_RECALL``, each (B,); NaN where no class with test images is in a group.

    ``geometric_mean`` is over the classes with test images, a recall of 0 counting as ``RECALL_FLOOR``; the others are
    the mean recalls of the classes with more than ``many`` training labels, with fewer than ``few``, and in between.

    Args:
        recalls: (B, K), NaN for a class without test images.
        counts: training labels of each class, K numbers.
        many: see above.
        few: see above.
    """
    labels = np.asarray(counts)
    groups = {"many_shot": labels > many, "few_shot": labels < few}
    groups["medium_shot"] = ~(groups["many_shot"] | groups["few_shot"])
    floored = np.where(recalls == 0.0, RECALL_FLOOR, recalls)
    found = {name: mean_of_classes(recalls[:, group]) for name, group in groups.items()}
    return {"geometric_mean": np.exp(mean_of_classes(np.log(floored))), **found}


def recall_scores(
    recalls: Sequence[float | None], counts: Sequence[int], many: int = MANY_LABELS, few: int = FEW_LABELS
) -> dict[str, float | None]:
    """As `scores_by_recall` for the recalls of one test set, as JSON data: None for NaN."""
    known = np.array([[np.nan if recall is None else recall for recall in recalls]])
    found = scores_by_recall(known, counts, many, few)
    return {name: None if np.isnan(found[name][0]) else float(found[name][0]) for name in BY_RECALL}


def mean_of_classes(values: np.ndarray) -> np.ndarray:
    """The mean over classes (B, K) -> (B,) of those that are not NaN; NaN without any."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))


def probability_scores(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores of ``PROBABILITY`` for logits (N, K) and labels (N,).

    - ``adaptive_ece``: sum over 15 bins with equally many images of |bin| / N |accuracy - confidence|, by the
      confidence of the predicted class (Nguyen and O'Connor 2015, arXiv 1508.05154; Nixon et al. 2019, 1904.01685);
    - ``brier``: mean of sum_k (p_k - 1[y = k])^2, in [0, 2] (Brier 1950);
    - ``aurc``: mean over k of the error among the k most confident images (Geifman et al. 2019, arXiv 1805.08206).
    """
    _, confidence, right, squares = ordered_by_confidence(scores, labels)
    return {
        "adaptive_ece": adaptive_calibration_error(confidence, right),
        "brier": float(squares.mean()),
        "aurc": float(risk_by_coverage(right).mean()),
    }


def ordered_by_confidence(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Images from the most confident on: their numbers, confidence, whether right, and squared distance to the label.

    Images are ordered by the log-odds of the predicted class, which do not saturate as its probability does.
    """
    odds = class_evidence(scores, probabilistic=True)
    probabilities = 1.0 / (1.0 + np.exp(-odds))
    order = np.argsort(-odds.max(axis=1), kind="stable")
    squares = ((probabilities - np.eye(scores.shape[1])[labels]) ** 2).sum(axis=1)
    right = scores.argmax(axis=1) == labels
    return order, probabilities.max(axis=1)[order], right[order].astype(np.float64), squares[order]


def adaptive_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """See `probability_scores`; of images (N,) in the order of their confidence."""
    bins = np.array_split(right - confidence, CALIBRATION_BINS)
    return float(sum(abs(one.sum()) for one in bins) / len(right))


def risk_by_coverage(right: np.ndarray) -> np.ndarray:
    """The error among the first 1, 2, ..., N images, (N,), of images in the order of their confidence."""
    return np.asarray(np.cumsum(1.0 - right) / np.arange(1, len(right) + 1))


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

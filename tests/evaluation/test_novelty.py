"""Scores of novelty against their definitions, image by image, and their figures against counting pairs."""

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score, roc_curve

from trigan.evaluation.novelty import ImageOutputs, NoveltyReference, image_scores, novelty_figures, novelty_line
from trigan.scores import NOVELTY_METRICS, NOVELTY_SCORES, novelty_score

SOURCE = torch.Generator().manual_seed(0)
LOGITS = torch.randn(12, 3, generator=SOURCE) * 3
FEATURES = torch.randn(12, 4, generator=SOURCE)
KNOWN = torch.randn(40, 4, generator=SOURCE) + torch.eye(4)[torch.arange(40) % 3] * 2
LABELS = torch.arange(40) % 3
GENERATED = torch.randn(25, 4, generator=SOURCE) - 1.0


def _scores(generated: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    outputs = ImageOutputs(LOGITS, FEATURES, LOGITS[:, 0])
    return image_scores(outputs, NoveltyReference(KNOWN, LABELS, generated))


def test_scores_of_logits() -> None:
    found, exponentials = _scores(), np.exp(LOGITS.double().numpy())
    np.testing.assert_allclose(found["max_softmax"], (exponentials / exponentials.sum(1, keepdims=True)).max(1))
    np.testing.assert_allclose(found["max_logit"], LOGITS.double().numpy().max(1))
    np.testing.assert_allclose(found["energy"], np.log(exponentials.sum(1)))
    np.testing.assert_allclose(found["discriminator"], LOGITS[:, 0].double().numpy())


def test_the_mahalanobis_distance_to_the_nearest_class() -> None:
    known, labels = KNOWN.double().numpy(), LABELS.numpy()
    means = [known[labels == k].mean(0) for k in range(3)]
    centred = np.concatenate([known[labels == k] - means[k] for k in range(3)])
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    expected = [-min(float((f - mean) @ inverse @ (f - mean)) for mean in means) for f in FEATURES.double().numpy()]
    np.testing.assert_allclose(_scores()["mahalanobis"], expected)


def test_the_distance_to_the_fifth_neighbour() -> None:
    unit = KNOWN.double() / KNOWN.double().norm(dim=1, keepdim=True)
    image = FEATURES.double() / FEATURES.double().norm(dim=1, keepdim=True)
    expected = [-float(sorted((one - unit).norm(dim=1).tolist())[4]) for one in image]
    np.testing.assert_allclose(_scores()["nearest_neighbours"], expected)


def test_generated_unknowns_are_a_further_class() -> None:
    """Images like G's samples score low, those like labelled images high; without samples there is no such score."""
    reference = NoveltyReference(KNOWN, LABELS, GENERATED)
    known, like_generated = (
        image_scores(ImageOutputs(LOGITS, features), reference)["generated"] for features in (KNOWN, GENERATED)
    )
    assert like_generated.min() >= 0.0
    assert known.max() <= 1.0
    assert known.mean() > like_generated.mean() + 0.3
    assert "generated" not in _scores()


def test_a_classifier_without_features_has_scores_of_logits_alone() -> None:
    assert set(image_scores(ImageOutputs(LOGITS), None)) == {"max_softmax", "max_logit", "energy"}


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_counting(seed: int) -> None:
    """Also with ties; the threshold is the highest that 95 % of the known images reach."""
    source = np.random.default_rng(seed)
    known, novel = np.round(source.normal(1.0, size=60), 1), np.round(source.normal(size=35), 1)
    found = novelty_figures({"energy": known}, {"energy": novel})["energy"]
    pairs = [(k > n) + 0.5 * (k == n) for k in known for n in novel]
    assert found["auroc"] == pytest.approx(np.mean(pairs))
    labels = np.append(np.ones(60), np.zeros(35))
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, np.concatenate([known, novel])))
    alarms, hits, _ = roc_curve(labels, np.concatenate([known, novel]), drop_intermediate=False)
    assert found["fpr"] == pytest.approx(alarms[np.flatnonzero(hits >= 0.95)[0]])


def test_a_perfect_score_and_a_useless_one() -> None:
    both = novelty_figures(
        {"energy": np.arange(20) + 100.0, "max_logit": np.zeros(20)},
        {"energy": np.arange(9.0), "max_logit": np.zeros(9)},
    )
    assert both == {"energy": {"auroc": 1.0, "fpr": 0.0}, "max_logit": {"auroc": 0.5, "fpr": 1.0}}


def test_every_score_is_a_metric_of_tables() -> None:
    figures = {"auroc": 0.75, "fpr": 0.5}
    block = {"images": 9, "known": 20, "scores": dict.fromkeys(NOVELTY_SCORES, figures)}
    for key, metric in NOVELTY_METRICS.items():
        assert novelty_score(block, key) == (0.75 if metric.sign > 0 else 0.5)
        assert novelty_score({}, key) is None
    assert set(_scores(GENERATED)) == set(NOVELTY_SCORES)
    assert novelty_line(block).startswith(
        "AUROC of 9 images of held-out classes against 20 known ones: max_softmax 75.0 %"
    )

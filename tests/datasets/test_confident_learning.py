"""Confident learning: a case by hand, and parity with the authors' library."""

import numpy as np
import pytest

from trigan.datasets.confident_learning import PruneBy, confident_classes, joint_counts, pruned_images

P = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6], [0.2, 0.8], [0.9, 0.1]])
GIVEN = np.array([0, 0, 0, 1, 1, 1])


def test_a_case_by_hand() -> None:
    """t_0 = (.9 + .8 + .1) / 3 = .6, t_1 = (.6 + .8 + .1) / 3 = .5."""
    assert confident_classes(P, GIVEN).tolist() == [0, 0, 1, 1, 1, 0]
    assert joint_counts(P, GIVEN).tolist() == [[2, 1], [1, 2]]
    for by in ("noise_rate", "class", "both"):
        assert pruned_images(P, GIVEN, by).tolist() == [False, False, True, False, False, True]  # type: ignore[arg-type]


def test_a_label_keeps_an_image_and_one_without_confident_images_counts_as_right() -> None:
    p = np.array([[0.1, 0.9], [0.1, 0.9], [0.0, 1.0], [0.05, 0.95]])
    given = np.array([0, 0, 1, 1])
    assert joint_counts(p, given)[0].tolist() == [2 / 3, 4 / 3] or joint_counts(p, given).sum(1).tolist() == [2, 2]
    for by in ("noise_rate", "class", "both"):
        assert pruned_images(p, given, by)[:2].sum() <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by", ["noise_rate", "class", "both"])
def test_parity_with_cleanlab(by: PruneBy, seed: int) -> None:
    """On images that are confident of no class but their most probable one, where both take the same class."""
    cleanlab = pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    assert cleanlab
    source = np.random.default_rng(seed)
    true = source.integers(0, 4, 400)
    given = np.where(source.random(400) < 0.3, source.integers(0, 4, 400), true)
    p = source.dirichlet(np.ones(4), 400) + 1.5 * np.eye(4)[true]
    p = p / p.sum(1, keepdims=True)
    thresholds = np.array([p[given == k, k].mean() for k in range(4)])
    ambiguous = (p.max(1) < thresholds[p.argmax(1)]) & ((p >= thresholds).sum(1) > 1)
    assert ambiguous.sum() <= 40
    p[ambiguous] = 0.25
    counts = compute_confident_joint(given, p, calibrate=False)
    expected = counts / counts.sum(1, keepdims=True) * np.bincount(given)[:, None]
    np.testing.assert_allclose(joint_counts(p, given), expected)
    rounded = np.rint(expected).astype(int)
    np.fill_diagonal(rounded, 0)
    np.fill_diagonal(rounded, np.bincount(given) - rounded.sum(1))
    names = {"noise_rate": "prune_by_noise_rate", "class": "prune_by_class", "both": "both"}
    issues = find_label_issues(given, p, filter_by=names[by], confident_joint=rounded, n_jobs=1)
    found = pruned_images(p, given, by)
    assert found.sum() > 50
    assert (found == issues).all()
    right = (given != true)[found].mean()
    assert right > 0.8

"""Features for a map: the choice of images, and principal components against scikit-learn's."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from trigan.evaluation.feature_map import evenly_spaced_indices, principal_components


def test_images_are_evenly_spaced() -> None:
    assert evenly_spaced_indices(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced_indices(1001, 11).tolist() == list(range(0, 1001, 100))


def test_principal_components_are_those_of_scikit_learn() -> None:
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    ours = principal_components(features, 5).numpy()
    theirs = PCA(5, svd_solver="full").fit_transform(features.double().numpy())
    signs = np.sign((ours * theirs).sum(0))  # the sign of a component is arbitrary
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-5)


def test_fewer_images_than_components() -> None:
    assert principal_components(torch.randn(3, 200)).shape == (3, 3)


def test_features_that_are_not_finite_give_components_that_are() -> None:
    features = torch.tensor([[0.0, float("nan")], [1.0, 2.0], [3.0, 1.0]])
    assert principal_components(features).isfinite().all()

import numpy as np
import pytest
import torch
from torch import Tensor

from trigan.losses.pull_away import pull_away, pull_away_moments

FEATURES = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def of(features: Tensor) -> Tensor:
    return pull_away(*pull_away_moments(features), len(features))


def pair_by_pair(features: np.ndarray) -> float:
    """Squared cosines of all ordered pairs of different rows."""
    found = []
    for i, one in enumerate(features):
        for j, other in enumerate(features):
            lengths = np.linalg.norm(one) * np.linalg.norm(other)
            if i != j:
                found.append((one @ other / lengths) ** 2 if lengths else 0.0)
    return float(np.mean(found))


def test_it_is_the_mean_squared_cosine_of_pairs() -> None:
    assert of(FEATURES).item() == pytest.approx(pair_by_pair(FEATURES.numpy()))
    assert of(FEATURES * 7).item() == pytest.approx(of(FEATURES).item())


def test_its_ends() -> None:
    assert of(torch.eye(4)).item() == pytest.approx(0.0)
    assert of(FEATURES[:1].repeat(5, 1)).item() == pytest.approx(1.0)
    assert of(torch.stack([FEATURES[0], -FEATURES[0]])).item() == pytest.approx(1.0)


def test_a_row_of_zeros_is_at_right_angles_to_all_and_breaks_nothing() -> None:
    features = FEATURES.clone()
    features[2] = 0.0
    assert of(features).item() == pytest.approx(pair_by_pair(features.numpy()))
    features.requires_grad_()
    of(features).backward()
    assert features.grad.isfinite().all()


def test_moments_of_two_halves_average() -> None:
    whole, halves = pull_away_moments(FEATURES), [pull_away_moments(part) for part in FEATURES.split(3)]
    for both, one, other in zip(whole, *halves, strict=True):
        torch.testing.assert_close((one + other) / 2, both)


def test_its_descent_turns_rows_apart() -> None:
    features = FEATURES.clone().requires_grad_()
    loss = of(features)
    loss.backward()
    assert features.grad.abs().sum(1).min() > 0
    assert of(features.detach() - 0.1 * features.grad).item() < loss.item()

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm
from torch import Tensor

from trigan.losses import semi_supervised_losses
from trigan.losses.semi_supervised_losses import latent_likelihood, pull_away, pull_away_moments

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2


def with_generated() -> np.ndarray:
    """The K + 1 probabilities, the last one of "generated", whose logit is 0."""
    return softmax(np.c_[LOGITS.numpy(), np.zeros(6)], axis=1)


def test_semi_supervised_losses_are_those_of_a_softmax_with_one_more_class() -> None:
    p = with_generated()
    assert semi_supervised_losses.k_plus_one_real(LOGITS).item() == pytest.approx(-0.5 * np.log(1 - p[:, -1]).mean())
    assert semi_supervised_losses.k_plus_one_generated(LOGITS).item() == pytest.approx(-0.5 * np.log(p[:, -1]).mean())


def test_semi_supervised_losses_have_opposite_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    (real,) = torch.autograd.grad(semi_supervised_losses.k_plus_one_real(logits), logits)
    (fake,) = torch.autograd.grad(semi_supervised_losses.k_plus_one_generated(logits), logits)
    assert (real < 0).all()
    assert (fake > 0).all()


def test_semi_supervised_losses_are_finite_at_extreme_logits() -> None:
    for value in (-500.0, 500.0):
        logits = torch.full((2, 3), value)
        assert semi_supervised_losses.k_plus_one_real(logits).isfinite()
        assert semi_supervised_losses.k_plus_one_generated(logits).isfinite()


def test_feature_matching_is_a_mean_of_squares_with_a_gradient_for_the_fake() -> None:
    real, fake = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([0.0, 5.0], requires_grad=True)
    loss = semi_supervised_losses.feature_matching(real, fake)
    loss.backward()
    assert loss.item() == 5.0
    assert real.grad is None
    assert fake.grad.tolist() == [-1.0, 3.0]


@pytest.mark.parametrize("absolute", [False, True])
def test_feature_matching_equals_numpy(absolute: bool) -> None:
    """Salimans et al. 2016, section 3.1, ||E f(x) - E f(G(z))||^2 as a mean over features, or its absolute form."""
    f_real, f_fake = LOGITS.numpy()[:3], LOGITS.numpy()[3:]
    difference = f_real.mean(0) - f_fake.mean(0)
    expected = np.abs(difference).mean() if absolute else (difference**2).mean()
    means = (torch.from_numpy(f.mean(0)) for f in (f_real, f_fake))
    assert semi_supervised_losses.feature_matching(*means, absolute=absolute).item() == pytest.approx(expected)


FEATURES = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def pull_away_of(features: Tensor) -> Tensor:
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


def test_pull_away_is_the_mean_squared_cosine_of_pairs() -> None:
    assert pull_away_of(FEATURES).item() == pytest.approx(pair_by_pair(FEATURES.numpy()))
    assert pull_away_of(FEATURES * 7).item() == pytest.approx(pull_away_of(FEATURES).item())


def test_extremes_of_pull_away() -> None:
    assert pull_away_of(torch.eye(4)).item() == pytest.approx(0.0)
    assert pull_away_of(FEATURES[:1].repeat(5, 1)).item() == pytest.approx(1.0)
    assert pull_away_of(torch.stack([FEATURES[0], -FEATURES[0]])).item() == pytest.approx(1.0)


def test_a_row_of_zeros_is_orthogonal_to_all() -> None:
    features = FEATURES.clone()
    features[2] = 0.0
    assert pull_away_of(features).item() == pytest.approx(pair_by_pair(features.numpy()))
    features.requires_grad_()
    pull_away_of(features).backward()
    assert features.grad.isfinite().all()


def test_moments_of_two_halves_average() -> None:
    whole, halves = pull_away_moments(FEATURES), [pull_away_moments(part) for part in FEATURES.split(3)]
    for both, one, other in zip(whole, *halves, strict=True):
        torch.testing.assert_close((one + other) / 2, both)


def test_descent_lowers_pull_away() -> None:
    features = FEATURES.clone().requires_grad_()
    loss = pull_away_of(features)
    loss.backward()
    assert features.grad.abs().sum(1).min() > 0
    assert pull_away_of(features.detach() - 0.1 * features.grad).item() < loss.item()


def test_latent_likelihood_equals_numpy() -> None:
    """Dai et al. 2017, section 4.2: -log q(z|x), a normal density, without (Z / 2) log 2 pi."""
    latents, mean, log_deviation = (part.numpy() for part in FEATURES.split(2))
    density = norm.logpdf(latents, mean, np.exp(log_deviation)).sum(1).mean()
    found = latent_likelihood(*(part for part in FEATURES.split(2)))
    assert found.item() == pytest.approx(-density - 2.5 * np.log(2 * np.pi))

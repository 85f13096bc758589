"""Figures of copying: authenticity, copies of training images, repeated samples, Feature Likelihood Divergence."""

import math

import torch
from torch import Tensor

from trigan.evaluation.generators.neighbours import distance_tiles, nearest
from trigan.rng import permutation

#: Below this share of the median distance of a training image to its nearest one, two images count as the same.
SAME_IMAGE = 0.25
#: Adam's rate and steps, the range of log variances, and the share by which FLD's mean component is drawn in: those of
#: the authors (marcojira/fld); most images of each kind.
_RATE, _STEPS, _RANGE, _ORIGIN, FLD_IMAGES = 0.5, 50, 40.0, 0.1, 5000


def copying_figures(training: Tensor, generated: Tensor) -> dict[str, float]:
    """``authenticity``, ``copies`` and ``duplicates``, shares of the generated images in [0, 1].

    - authenticity (Alaa et al. 2022, arXiv 2102.08921, section 3): the distance to the nearest training image is above
      that image's distance to its own nearest neighbour among them. About one half for further real images, near 0 for
      copies; high values say nothing good of noise.
    - copies: the nearest training image is closer than ``SAME_IMAGE`` times the median of those distances.
    - duplicates: see `duplicates`.

    Args:
        training: (N, F), at least 2; those that the generator saw should be among them.
        generated: (M, F), at least 2.
    """
    spacing = nearest(training, training, 1, same=True)[0].squeeze(1)
    distances, indices = (one.squeeze(1) for one in nearest(generated, training, 1))
    return {
        "authenticity": float((distances > spacing[indices]).double().mean()),
        "copies": float((distances < SAME_IMAGE * float(spacing.median())).double().mean()),
        "duplicates": duplicates(generated, spacing),
    }


def duplicates(generated: Tensor, spacing: Tensor) -> float:
    """Share of generated images (M, F) with another one closer than ``SAME_IMAGE`` times the median of ``spacing``.

    ``spacing`` (N,) are the distances of training images to their nearest neighbours.
    """
    others = nearest(generated, generated, 1, same=True)[0].squeeze(1)
    return float((others < SAME_IMAGE * float(spacing.median())).double().mean())


def feature_likelihood_divergence(training: Tensor, held_out: Tensor, generated: Tensor) -> float:
    """FLD: 100 times the excess of the held-out images' negative log-likelihood per dimension (arXiv 2302.04440).

    The density is a mixture of isotropic Gaussians around the generated images, whose variances maximise the likelihood
    of the *training* images. A copy of a training image gets a tiny variance, which explains nothing held out, so
    copying is punished beside low fidelity and low diversity. From it the same is subtracted for one half of the
    training images as centres and the other half as training images. About 0 is perfect, lower is better.

    Features are standardised by the held-out images; constant ones are left out. At most ``FLD_IMAGES`` of each kind.

    Args:
        training: (N, F), images that the generator may have seen.
        held_out: (M, F), real images that it has not seen.
        generated: (G, F).
    """
    centre, spread = held_out.double().mean(0), held_out.double().std(0)
    known = spread > 1e-6 * spread.max()
    sets = (training, held_out, generated)
    chosen = (one[permutation(len(one), 0, "likelihood", i)[:FLD_IMAGES]] for i, one in enumerate(sets))
    train, test, fake = (((one.double() - centre) / spread)[:, known] for one in chosen)
    half = min(len(fake), len(train) // 2)
    baseline = _held_out_nll(train[:half], train[half:], test)
    return 100.0 * (_held_out_nll(fake, train, test) - baseline)


def _held_out_nll(centres: Tensor, train: Tensor, test: Tensor) -> float:
    """Mean negative log-likelihood per dimension of ``test``, with variances fitted to ``train``."""
    log_variances, _ = fit_log_variances(centres, train)
    total = 0.0
    for _, tile in distance_tiles(test, centres):
        total -= float((_log_normal(tile.square_(), log_variances, test.shape[1])).logsumexp(1).sum())
    return (total / len(test) + math.log(len(centres))) / test.shape[1]


def fit_log_variances(centres: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Log variances (G,) of Gaussians around ``centres`` (G, F), and (1,) of one around the mean of ``train`` (N, F).

    They maximise the mean log-likelihood of ``train``, by Adam, from the optimum for each centre's nearest image; the
    component at the mean, with its distances times .9, gives outlying images a bounded likelihood. The gradient of the
    log-likelihood with respect to the log variance v_j is sum_i r_ij (d_ij^2 exp(-v_j) - F) / 2, with the
    responsibilities r. It ends early once the loss has moved by less than 5e-4 over the last five steps.
    """
    dims = train.shape[1]
    squares = torch.cat([tile.square_().float() for _, tile in distance_tiles(train, centres)])
    origin = (1.0 - _ORIGIN) ** 2 * (train - train.mean(0)).square().sum(1, keepdim=True)
    values = torch.cat([((squares.min(0).values.double() + 1e-3) / dims).log(), torch.zeros(1, dtype=torch.float64)])
    values.requires_grad_()
    adam, losses = torch.optim.Adam([values], lr=_RATE), list[float]()
    rows = max(1, 2**21 // len(centres))
    while len(losses) < _STEPS and not _settled(losses):
        gradient, loss, log_variances = torch.zeros_like(values), 0.0, values.detach()
        for near, far in zip(torch.split(squares, rows), torch.split(origin, rows), strict=True):
            distances = torch.cat([near.double(), far], dim=1)
            joint = _log_normal(distances, log_variances, dims)
            joint[:, :-1] -= math.log(len(centres))
            likelihood = joint.logsumexp(1)
            responsibility = joint.sub_(likelihood[:, None]).exp_()
            # (sum_i r d^2) exp(-v) - F sum_i r, over 2; the quotient by the number of values is that of the loss
            weighted = (responsibility * distances).sum(0) * (-log_variances).exp()
            gradient -= 0.5 * (weighted - dims * responsibility.sum(0)) / (len(train) * dims)
            loss -= float(likelihood.sum()) / (len(train) * dims)
        values.grad = gradient
        adam.step()
        with torch.no_grad():
            values[:-1].clamp_(-_RANGE, _RANGE)
        losses.append(loss)
    fitted = values.detach()
    return fitted[:-1], fitted[-1:]


def _log_normal(squares: Tensor, log_variances: Tensor, dims: int) -> Tensor:
    """Log N(x | centre, exp(v) I) for squared distances (n, G) and log variances (G,)."""
    return -0.5 * (squares * (-log_variances).exp() + dims * (log_variances + math.log(2.0 * math.pi)))


def _settled(losses: list[float]) -> bool:
    return len(losses) > 6 and max(abs(losses[-1] - earlier) for earlier in losses[-6:-1]) < 5e-4

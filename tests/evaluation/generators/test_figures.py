"""Figures of generators against references: torchmetrics, naive definitions, the authors' fit, staged failures."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from trigan.datasets.sources.digits import Digits
from trigan.errors import ConfigError, DataError
from trigan.evaluation.generators.distributions import (
    class_score,
    classwise_frechet_distance,
    frechet_distance,
    kernel_distance,
    modes_and_reverse_kl,
)
from trigan.evaluation.generators.embeddings import RandomConv, from_file, random_conv
from trigan.evaluation.generators.image_figures import Reference, compare_sets, reference_from
from trigan.evaluation.generators.manifold import manifold_figures
from trigan.evaluation.generators.memorisation import (
    feature_likelihood_divergence,
    fit_log_variances,
)
from trigan.evaluation.generators.neighbours import nearest


def normal(n: int, dims: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


class Flat(nn.Module):
    """Pixels as features, for torchmetrics."""

    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).double()


REAL, FAKE = normal(300, 12, 0), normal(300, 12, 1, 0.3) * 1.2


def test_frechet_and_kernel_distance_are_those_of_torchmetrics() -> None:
    fid = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2), normalize=True).set_dtype(torch.float64)
    kid = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=300, normalize=True).set_dtype(torch.float64)
    # torchmetrics turns images into bytes before a custom network sees them
    images = [(one.sigmoid().view(-1, 3, 2, 2) * 255).byte() for one in (REAL, FAKE)]
    for metric in (fid, kid):
        metric.normalize = False
        for one, real in zip(images, (True, False), strict=True):
            metric.update(one, real=real)
    a, b = (one.flatten(1).double() for one in images)
    assert frechet_distance(a, b) == pytest.approx(float(fid.compute()), rel=1e-6)
    assert kernel_distance(a, b) == pytest.approx(float(kid.compute()[0]), rel=1e-6)


def test_frechet_distance_of_known_gaussians() -> None:
    base = normal(4000, 3, 2)
    white = (base - base.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(base.T.cov())).T
    moved = white * torch.tensor([1.0, 2.0, 3.0]) + 1.0
    assert frechet_distance(white, moved) == pytest.approx(3.0 + 0.0 + 1.0 + 4.0, rel=1e-9)
    singular = torch.cat([white, torch.zeros(4000, 5)], 1)
    assert frechet_distance(singular, torch.cat([moved, torch.zeros(4000, 5)], 1)) == pytest.approx(8.0, rel=1e-9)


def test_subsets_of_the_kernel_distance_average_to_the_whole() -> None:
    whole = kernel_distance(REAL, FAKE)
    assert kernel_distance(REAL, FAKE, subsets=40, size=100) == pytest.approx(whole, rel=0.1)
    assert kernel_distance(REAL, FAKE, size=100, seed=1) != kernel_distance(REAL, FAKE, size=100, seed=2)


def naive_prdc(real: Tensor, fake: Tensor, k: int) -> dict[str, float]:
    """The definitions, pair by pair: distances by differences, balls one by one."""
    rf = (real[:, None] - fake[None]).norm(dim=2)
    balls = [((one[:, None] - one[None]).norm(dim=2)).kthvalue(k + 1, dim=1).values for one in (real, fake)]
    inside = rf < balls[0][:, None]
    return {
        "precision": inside.any(0).double().mean().item(),
        "recall": (rf < balls[1][None]).any(1).double().mean().item(),
        "density": inside.double().sum(0).mean().item() / k,
        "coverage": (rf.min(1).values < balls[0]).double().mean().item(),
    }


@pytest.mark.parametrize("k", [3, 5])
def test_manifold_figures_are_those_of_their_definitions(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigan.evaluation.generators.neighbours.TILE", 1000)  # three rows a tile
    found = manifold_figures(REAL, FAKE, k, k)
    assert found == pytest.approx(naive_prdc(REAL, FAKE, k), abs=1e-9)
    assert 0.05 < found["recall"] < 0.999  # neither end of the range would tell anything


def test_nearest_neighbours_leave_out_the_query_itself() -> None:
    points = torch.tensor([[0.0], [0.0], [5.0], [7.0]])
    distances, indices = nearest(points, points, 2, same=True)
    assert distances[0, 0] == pytest.approx(0.0, abs=1e-6)
    assert indices[:, 0].tolist() == [1, 0, 3, 2]
    assert distances[2].tolist() == pytest.approx([2.0, 5.0])


def authors_fit(centres: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """FLD's mixture by automatic differentiation of its likelihood, step by step as the paper's code does it."""
    d = train.shape[1]
    squares = torch.cdist(train, centres, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    v = ((squares.min(0).values + 1e-3) / d).log().requires_grad_()
    origin = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam, losses = torch.optim.Adam([v, origin], lr=0.5), []
    far = 0.81 * torch.cdist(train, train.mean(0, keepdim=True)) ** 2
    for step in range(50):
        adam.zero_grad()
        parts = [
            torch.distributions.Normal(0.0, (0.5 * one).exp()).log_prob(torch.zeros(1, dtype=torch.float64)) * d
            - 0.5 * q / one.exp()
            for one, q in ((v, squares), (origin, far))
        ]
        loss = -torch.cat([parts[0] - math.log(len(centres)), parts[1]], 1).logsumexp(1).mean() / d
        loss.backward()
        adam.step()
        with torch.no_grad():
            v.clamp_(-40, 40)
        losses.append(loss.item())
        if step > 5 and max(abs(losses[-1] - losses[-j]) for j in range(2, 7)) < 5e-4:
            break
    return v.detach(), origin.detach()


def test_variances_of_the_likelihood_are_those_of_automatic_differentiation() -> None:
    centres, train = normal(40, 5, 3), normal(60, 5, 4)
    expected, origin = authors_fit(centres, train)
    found, found_origin = fit_log_variances(centres, train)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)  # distances are stored in single precision
    assert torch.allclose(found_origin, origin, rtol=1e-4, atol=1e-4)


def test_likelihood_divergence_is_that_of_an_independent_computation() -> None:
    train, held_out, fake = normal(80, 4, 5), normal(50, 4, 6), normal(40, 4, 7, 0.5)

    def nll(centres: Tensor, fitted_to: Tensor, scored: Tensor) -> float:
        v, _ = authors_fit(centres, fitted_to)
        mixture = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(len(centres), dtype=torch.float64)),
            torch.distributions.Independent(
                torch.distributions.Normal(centres, (0.5 * v).exp()[:, None].expand_as(centres)), 1
            ),
        )
        return -mixture.log_prob(scored).mean().item() / 4

    from trigan.rng import permutation

    mean, std = held_out.mean(0), held_out.std(0)
    a, b, c = (
        ((one - mean) / std)[permutation(len(one), 0, "likelihood", i)] for i, one in enumerate((train, held_out, fake))
    )
    expected = 100 * (nll(c, a, b) - nll(a[:40], a[40:], b))
    assert feature_likelihood_divergence(train, held_out, fake) == pytest.approx(expected, rel=1e-3)


def test_class_figures_of_closed_forms() -> None:
    certain = 100.0 * F.one_hot(torch.arange(40) % 4, 5).double()
    assert class_score(certain) == pytest.approx(4.0)
    assert class_score(torch.zeros(9, 5)) == pytest.approx(1.0)
    modes, divergence = modes_and_reverse_kl(certain.argmax(1), torch.ones(5))
    assert (modes, divergence) == (4, pytest.approx(math.log(5 / 4)))
    assert modes_and_reverse_kl(torch.tensor([1]), torch.tensor([1.0, 0.0]))[1] == math.inf


# --- staged failures, on digits

DIGITS = Digits().load(None)  # type: ignore[arg-type]
ORDER = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
IMAGES, LABELS = DIGITS.images[ORDER], DIGITS.labels[ORDER]
REFERENCE = reference_from(IMAGES[:1200], 400, "digits")
FRESH, FRESH_LABELS = IMAGES[1200:1600], LABELS[1200:1600]


def figures(images: Tensor, reference: Reference = REFERENCE) -> dict[str, float]:
    found: dict[str, float] = compare_sets(random_conv(), reference, images)["figures"]
    return found


def noisy(images: Tensor, sd: float) -> Tensor:
    noise = sd * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images.float() + noise).clamp(0, 255).round().byte()


def blurred(images: Tensor, times: int) -> Tensor:
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None] / 16
    values = images.float()
    for _ in range(times):
        values = F.conv2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), kernel)
    return values.round().byte()


def without_classes(kept: int) -> Tensor:
    rows = (kept > FRESH_LABELS).nonzero().squeeze(1)
    return FRESH[rows.repeat(400 // len(rows) + 1)[:400]]


def test_identical_sets_have_no_distance() -> None:
    found = figures(REFERENCE.real)
    assert found["fid"] < 1e-9
    assert abs(found["kid"]) < 0.1 * abs(figures(blurred(FRESH, 1))["kid"])  # unbiased: pairs of equal images count
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)


def test_further_real_images_are_at_the_floor() -> None:
    found = compare_sets(random_conv(), REFERENCE, FRESH)
    assert found["figures"]["fid"] == pytest.approx(found["floor"]["fid"], rel=0.3)
    assert found["figures"]["authenticity"] == pytest.approx(found["floor"]["authenticity"], abs=0.12)
    assert found["figures"]["copies"] < 0.02
    assert (found["embedding"], found["images"], found["fingerprint"]) == ("random_conv@1", 400, "digits")


@pytest.mark.parametrize(
    "stages",
    [
        pytest.param([noisy(FRESH, sd) for sd in (0.0, 15.0, 40.0, 90.0)], id="noise"),
        pytest.param([blurred(FRESH, times) for times in (0, 1, 2, 4)], id="blur"),
        pytest.param([without_classes(kept) for kept in (10, 7, 4, 1)], id="dropped classes"),
        pytest.param([FRESH[torch.arange(400) % n] for n in (400, 60, 15, 3)], id="duplicates"),
    ],
)
def test_figures_are_monotone_under_degradation(stages: list[Tensor]) -> None:
    found = [figures(one) for one in stages]
    for name, sign, slack in (("fid", 1, 0.0), ("kid", 1, 0.0), ("coverage", -1, 0.02)):  # coverage is near 1 at first
        values = [sign * one[name] for one in found]
        assert all(a <= b + slack for a, b in itertools.pairwise(values)), f"{name}: {values}"
    assert found[-1]["fid"] > 3 * found[0]["fid"]


def test_duplicates_are_counted() -> None:
    assert figures(FRESH)["duplicates"] < 0.02
    assert figures(FRESH[torch.arange(400) % 50])["duplicates"] == 1.0


def test_a_copying_generator_is_caught_and_not_by_the_distances() -> None:
    honest, copies = figures(FRESH), figures(noisy(REFERENCE.seen[torch.arange(400)], 1.0))
    assert copies["fid"] < honest["fid"]
    assert copies["precision"] >= honest["precision"]
    assert copies["authenticity"] < 0.05 < 0.3 < honest["authenticity"]
    assert copies["copies"] > 0.95
    assert honest["copies"] < 0.02


def test_the_likelihood_divergence_punishes_copies() -> None:
    embed = random_conv()
    train, held_out = embed(REFERENCE.seen[:600]), embed(IMAGES[1600:])
    honest, copies, blur = (embed(one) for one in (FRESH, REFERENCE.seen[:400], blurred(FRESH, 2)))
    values = [feature_likelihood_divergence(train, held_out, one) for one in (honest, blur, copies)]
    assert abs(values[0]) < 10 < values[1]
    assert values[2] > 3 * abs(values[0]) + 10


def test_classwise_distance_sees_labels_that_are_wrong() -> None:
    embed = random_conv()
    real, fake = embed(REFERENCE.real), embed(FRESH)
    labels = LABELS[:1200]
    rows = [(IMAGES[:1200] == one).flatten(1).all(1).nonzero()[0] for one in REFERENCE.real]
    right = classwise_frechet_distance(real, labels[torch.cat(rows)], fake, FRESH_LABELS)
    wrong = classwise_frechet_distance(real, labels[torch.cat(rows)], fake, (FRESH_LABELS + 1) % 10)
    assert set(right) == set(range(10))
    assert sum(wrong.values()) > 2 * sum(right.values())


def test_sets_of_a_reference_are_disjoint_and_its_first_images_are_looked_at() -> None:
    numbered = torch.arange(1200, dtype=torch.int64)
    images = torch.stack([numbered // 256, numbered % 256], 1).byte().view(1200, 1, 1, 2)
    found = reference_from(images, 100, "x", torch.arange(60))
    codes = [
        {int(a) * 256 + int(b) for a, b in part.view(-1, 2).tolist()} for part in (found.real, found.other, found.seen)
    ]
    assert [len(one) for one in codes] == [100, 100, 200]
    assert not codes[0] & codes[1]
    assert codes[0] < codes[2]
    assert set(range(60)) < codes[2]


def test_sets_of_unequal_or_too_small_size_are_refused() -> None:
    with pytest.raises(DataError, match="399 generated and 400 real"):
        compare_sets(random_conv(), REFERENCE, FRESH[:399])
    with pytest.raises(DataError, match="at least 20"):
        reference_from(IMAGES[:19], 400, "digits")


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (28, 1), (64, 3)])
def test_random_features_take_any_image_one_by_one(size: int, channels: int) -> None:
    images = torch.randint(0, 256, (7, channels, size, size), dtype=torch.uint8)
    together, alone = random_conv()(images), torch.cat([random_conv()(one[None]) for one in images])
    assert together.shape == (7, 256)
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.equal(together, random_conv()(images))


def test_a_weights_file_is_stamped_with_its_content_and_refused_where_it_is_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"no such file.*nothing is downloaded"):
        from_file(tmp_path / "inception.pt")
    torch.save(RandomConv().state_dict(), tmp_path / "state.pt")
    with pytest.raises(ConfigError, match="a state dict alone has no network"):
        from_file(tmp_path / "state.pt")
    torch.jit.trace(RandomConv(), torch.zeros(1, 3, 16, 16)).save(tmp_path / "net.pt")
    embedding = from_file(tmp_path / "net.pt", 16)
    assert embedding.stamp.startswith("file-")
    assert embedding.stamp.endswith("-16")
    assert embedding(IMAGES[:3]).shape == (3, 256)

"""Mixing two images: the law of the shares, and each form against a transcription of its formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from trigan.datasets.augmentation import square_mask
from trigan.datasets.mixing import CutMix, Mix, MixUp, Remix, mixing_coefficients
from trigan.errors import ConfigError
from trigan.rng import Draws

MIXES: dict[str, Callable[..., Mix]] = {"mixup": MixUp, "cutmix": CutMix, "remix": Remix}


def _draws(count: int, start: int = 0, stop: int | None = None, step: int = 3) -> Draws:
    return Draws(7, step, count, start, count if stop is None else stop)


def _images(count: int, size: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    found = mixing_coefficients(_draws(4000), alpha, 1.0)
    assert found.dtype == torch.float64
    assert stats.kstest(found.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01
    uniform = _draws(4000).uniform("mix/share", dtype=torch.float64).numpy()
    lower = uniform < 0.5  # numbers next to 1 are too coarse for the steep end of a small alpha
    np.testing.assert_allclose(stats.beta(alpha, alpha).cdf(found.numpy())[lower], uniform[lower], rtol=0, atol=1e-6)


def test_probability_is_the_fraction_of_mixed_rows() -> None:
    found = mixing_coefficients(_draws(4000), 1.0, 0.25)
    assert float((found < 1.0).double().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(mixing_coefficients(_draws(50), 0.4, 0.0), torch.ones(50).double())


@pytest.mark.parametrize("name", MIXES)
def test_mixing_is_independent_of_the_number_of_processes(name: str) -> None:
    images, partners, mix = _images(16), _images(16, seed=1), MIXES[name](alpha=0.7, probability=0.8)
    whole, share = mix(images, partners, _draws(16))
    for start, stop in ((0, 8), (8, 16), (3, 4)):
        part, own = mix(images[start:stop], partners[start:stop], _draws(16, start, stop))
        assert torch.equal(part, whole[start:stop])
        assert torch.equal(own, share[start:stop])
    assert not torch.equal(mix(images, partners, _draws(16, step=4))[1], share)
    assert share.unique().numel() > 4


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_share_of_one_is_the_image_itself(name: str, dtype: torch.dtype) -> None:
    images = _images(9).to(dtype)
    mixed, share = MIXES[name](probability=0.0)(images, images.flip(0), _draws(9))
    assert torch.equal(mixed, images)
    assert torch.equal(share, torch.ones(9, dtype=dtype))


def test_mixup_is_its_formula() -> None:
    images, partners = _images(20), _images(20, seed=1)
    mixed, share = MixUp(alpha=0.5)(images, partners, _draws(20))
    for row in range(20):
        lam = np.float32(mixing_coefficients(_draws(20), 0.5, 1.0)[row])
        expected = lam * images[row].numpy() + (1 - lam) * partners[row].numpy()
        np.testing.assert_allclose(mixed[row].numpy(), expected, rtol=0, atol=1e-6)
        assert float(share[row]) == lam


def _square(lam: float, row: float, column: float, size: int) -> set[tuple[int, int]]:
    """The pixels of the rectangle, one by one."""
    side = round(size * math.sqrt(1 - lam))
    top, left = int(row * size) - side // 2, int(column * size) - side // 2
    inside = range(size)
    return {(r, c) for r in range(top, top + side) for c in range(left, left + side) if r in inside and c in inside}


@pytest.mark.parametrize("size", [7, 8])
def test_cutmix_cuts_a_rectangle_and_shares_by_its_area(size: int) -> None:
    images, partners, count = _images(60, size), _images(60, size, seed=1), 60
    mixed, share = CutMix(alpha=1.0, probability=0.8)(images, partners, _draws(count))
    lam, centre = mixing_coefficients(_draws(count), 1.0, 0.8), _draws(count).uniform("mix/centre", 2).double()
    clipped = 0
    for row in range(count):
        cut = _square(float(lam[row]), *centre[row].tolist(), size)
        clipped += 0 < len(cut) < round(size * math.sqrt(1 - float(lam[row]))) ** 2
        expected = images[row].clone()
        for r, c in cut:
            expected[:, r, c] = partners[row, :, r, c]
        assert torch.equal(mixed[row], expected)
        assert float(share[row]) == pytest.approx(1 - len(cut) / size**2, abs=1e-6)
    assert clipped > 5


def test_the_mask_ranges_from_nothing_to_the_whole_image() -> None:
    middle = torch.full((1, 2), 0.5).double()
    assert not square_mask(middle, 0, 8).any()
    assert square_mask(middle, 8, 8).all()


@pytest.mark.parametrize("name", MIXES)
@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"alpha": 0.0}, "alpha: 0.0 must be above 0"),
        ({"alpha": math.inf}, "alpha: inf must be above 0"),
        ({"probability": 1.5}, "probability: 1.5 must be in 0..1"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, given: dict[str, float], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MIXES[name](**given)
    assert str(caught.value) == line


@pytest.mark.parametrize(("ratio", "threshold"), [(3.0, 0.5), (1.0, 0.8), (2.0, 0.3)])
def test_remix_gives_the_label_to_the_rarer_class(ratio: float, threshold: float) -> None:
    """The rule, case by case; images are mixed as by MixUp."""
    mix, draws = Remix(ratio=ratio, threshold=threshold), _draws(200)
    images, partners = _images(200), _images(200, seed=1)
    mixed, share = mix(images, partners, draws)
    assert torch.equal(mixed, MixUp()(images, partners, draws)[0])
    source = torch.Generator().manual_seed(2)
    own, other = (torch.randint(1, 200, (200,), generator=source) for _ in range(2))
    found = mix.label_share(share, own, other)
    expected = []
    for lam, n_i, n_j in zip(share.tolist(), own.tolist(), other.tolist(), strict=True):
        if n_i / n_j >= ratio and lam < threshold:
            expected.append(0.0)
        elif n_i / n_j <= 1 / ratio and 1 - lam < threshold:
            expected.append(1.0)
        else:
            expected.append(lam)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert len({0.0, 1.0} & set(found.tolist())) == 2
    assert torch.equal(MixUp().label_share(share, own, other), share)


def test_impossible_settings_of_remix_are_refused() -> None:
    for settings, named in (({"ratio": 0.5}, "ratio: 0.5 must be 1"), ({"threshold": 1.5}, "threshold: 1.5 must be")):
        with pytest.raises(ConfigError, match=named):
            Remix(**settings)

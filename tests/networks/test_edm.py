"""The preconditioned denoiser and its sampler, against what the paper and calculus say."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.networks.diffusion.edm import EDM, Denoiser, Heun, refuse_diffusion
from trigan.samples.samplers import GeneratorSampler

SPEC = DataSpec(1, 8, 10)
SMALL = EDM(width=8, max_multiplier=2, sampler=Heun(steps=4))


def _denoiser(architecture: EDM = SMALL, spec: DataSpec = SPEC, seed: int = 0) -> Denoiser:
    """A denoiser whose last layers are not zero, as they are at the start."""
    torch.manual_seed(seed)
    network = architecture.generator(spec).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network


def _images(count: int = 6, spec: DataSpec = SPEC) -> Tensor:
    shape = (count, spec.channels, spec.size, spec.size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


# The preconditioning: table 1 ----------------------------------------------------------------------------------------


def test_without_noise_the_denoiser_is_the_identity() -> None:
    x, network = _images(), _denoiser()
    for sigma, bound in ((1e-3, 3e-3), (1e-5, 3e-5)):
        found = network.denoise(x, torch.full((6,), sigma), torch.arange(6)).detach()
        assert float((found - x).abs().max()) < bound
    noisy = network.denoise(x, torch.full((6,), 1.0), torch.arange(6)).detach()
    assert float((noisy - x).abs().max()) > 0.1


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_inputs_and_targets_of_the_network_have_variance_one(sigma_data: float) -> None:
    """Appendix B.6, for data of variance sigma_data^2; c_out^2 weight = 1, so that all noise levels count alike."""
    network = _denoiser(replace(SMALL, sigma_data=sigma_data))
    random = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(200_000, generator=random, dtype=torch.float64) for _ in range(2))
    for sigma in (0.002, 0.3, 0.5, 2.0, 80.0):
        level = torch.tensor([sigma], dtype=torch.float64)
        (c_skip, c_out, c_in), weight = network.scales(level), network.weight(level)
        noisy = sigma_data * clean + sigma * noise
        assert float((c_in * noisy).var()) == pytest.approx(1.0, rel=0.02)
        assert float(((sigma_data * clean - c_skip * noisy) / c_out).var()) == pytest.approx(1.0, rel=0.02)
        assert float(c_out.square() * weight) == pytest.approx(1.0, rel=1e-9)


def test_formulas_of_table_1() -> None:
    sigma, s = torch.tensor([0.7], dtype=torch.float64), 0.5
    c_skip, c_out, c_in = _denoiser().scales(sigma)
    assert float(c_skip) == pytest.approx(s**2 / (0.7**2 + s**2))
    assert float(c_out) == pytest.approx(0.7 * s / math.sqrt(0.7**2 + s**2))
    assert float(c_in) == pytest.approx(1 / math.sqrt(0.7**2 + s**2))


def test_a_new_denoiser_predicts_the_best_linear_estimate() -> None:
    """The last layer starts at 0, so D = c_skip x, and the expected loss is 1 for data of variance sigma_data^2."""
    torch.manual_seed(0)
    network = SMALL.generator(SPEC)
    x, sigma = _images(), torch.tensor([0.1, 0.2, 0.5, 1.0, 2.0, 9.0])
    expected = network.scales(sigma)[0][:, None, None, None] * x
    torch.testing.assert_close(network.denoise(x, sigma, None), expected)


# The sampler: equation 5 and algorithm 1 -----------------------------------------------------------------------------


def test_noise_levels_of_equation_5() -> None:
    levels = Heun().noise_levels
    assert len(levels) == 19
    assert (levels[0], levels[-1]) == (pytest.approx(80.0), 0.0)
    assert levels[17] == pytest.approx(0.002)
    assert levels[9] == pytest.approx((80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    assert levels == sorted(levels, reverse=True)


def _gaussian_end(z: Tensor, sampler: Heun, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """The sampler's end and the exact one, for data N(mean, std^2), whose best denoiser is known.

    D(x; sigma) = (std^2 x + sigma^2 mean) / (std^2 + sigma^2), so (x - mean) / sqrt(std^2 + sigma^2) is constant along
    the path.
    """

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)

    exact = mean + (sampler.sigma_max * z - mean) * std / math.hypot(std, sampler.sigma_max)
    return sampler.solve(denoise, z), exact


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.3, 0.2), (-0.5, 1.0)])
def test_the_sampler_solves_the_path_of_a_gaussian(mean: float, std: float) -> None:
    z = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = {}
    for steps in (64, 128, 256):
        found, exact = _gaussian_end(z, Heun(steps=steps), mean, std)
        errors[steps] = float((found - exact).abs().max())
    assert errors[256] < 1e-3
    assert errors[64] / errors[128] > 3.0, "of second order: twice the steps, a quarter of the error"
    assert errors[128] / errors[256] > 3.0
    found, exact = _gaussian_end(z, Heun(), mean, std)
    assert float((found - exact).abs().max()) < 0.1 * float(exact.abs().max()), "18 steps"


def test_single_precision_is_enough() -> None:
    z = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    single, _ = _gaussian_end(z, Heun(steps=256), 0.3, 0.2)
    double, exact = _gaussian_end(z.double(), Heun(steps=256), 0.3, 0.2)
    assert float((single - double).abs().max()) < 1e-4
    assert float((single - exact).abs().max()) < 1e-3


def test_number_of_passes() -> None:
    calls = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return 0 * x

    Heun(steps=5).solve(denoise, torch.zeros(1, 1))
    assert len(calls) == 9 == _denoiser(replace(SMALL, sampler=Heun(steps=5))).passes
    assert _denoiser(replace(SMALL, sampler=Heun(steps=5, guidance=2.0))).passes == 18
    assert _denoiser(replace(SMALL, conditional=False, sampler=Heun(steps=5, guidance=2.0))).passes == 9


# Labels --------------------------------------------------------------------------------------------------------------


def _guided(weight: float) -> Denoiser:
    return _denoiser(replace(SMALL, sampler=Heun(steps=4, guidance=weight)))


def test_guidance_zero_is_the_unconditional_and_one_the_conditional_model() -> None:
    z, y = torch.randn(6, 64, generator=torch.Generator().manual_seed(2)), torch.arange(6)
    with torch.no_grad():
        free, given = _guided(0.0)(z, y), _guided(1.0)(z, y)
        assert torch.equal(free, _guided(1.0)(z, None))
        assert torch.equal(free, _guided(0.0)(z, y.flip(0)))
        assert torch.equal(free, _guided(1.0)(z, torch.full((6,), -1)))
        assert not torch.equal(free, given)
        assert not torch.equal(given, _guided(1.0)(z, y.flip(0)))
        near = [_guided(weight)(z, y) for weight in (1e-6, 1.0 - 1e-6)]
        torch.testing.assert_close(near[0], free, rtol=0, atol=1e-4)
        torch.testing.assert_close(near[1], given, rtol=0, atol=1e-4)
        assert float((_guided(3.0)(z, y) - free).abs().mean()) > float((given - free).abs().mean())


@pytest.mark.parametrize("conditional", [False, True])
def test_an_image_does_not_depend_on_the_batch(conditional: bool) -> None:
    sampler = GeneratorSampler(_denoiser(replace(SMALL, conditional=conditional)))
    labels = torch.arange(20) % 10 if conditional else None
    whole = sampler.sample(torch.arange(20), labels, 7)
    for rows in (torch.tensor([3]), torch.tensor([19, 4, 4, 0, 11])):
        some = sampler.sample(rows, None if labels is None else labels[rows], 7)
        assert int((some.int() - whole[rows].int()).abs().max()) <= 1
        assert int((some != whole[rows]).sum()) <= 2
    assert len(whole.unique(dim=0)) == 20


# Shapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (9, 3), (13, 1), (28, 1), (33, 3), (64, 3), (128, 1)])
def test_every_size(size: int, channels: int) -> None:
    spec = DataSpec(channels, size, 3)
    network = _denoiser(EDM(width=4, sampler=Heun(steps=2)), spec)
    with torch.no_grad():
        images = network(torch.randn(2, network.latent), torch.tensor([0, 2]))
    assert images.shape == (2, channels, size, size)
    assert float(images.abs().max()) <= 1.0
    assert network.latent == channels * size**2
    assert network.block * size**2 <= 2**18
    maps = EDM(width=4).backbone(network).features(torch.zeros(2, channels, size, size))
    widths = [found.shape[-1] for found in maps.values()]
    assert widths[0] == widths[-1] == size
    assert min(widths) <= 4


def test_features_are_a_function_of_the_image_alone() -> None:
    backbone, images = SMALL.backbone(_denoiser()), _images()
    whole = backbone.features(images)
    for row in range(6):
        one = backbone.features(images[row : row + 1])
        for name in whole:
            torch.testing.assert_close(one[name][0], whole[name][row], rtol=1e-4, atol=1e-5)
    assert list(whole) == ["down1", "down2", "down3", "up2", "up1"]
    other = replace(SMALL, feature_sigma=2.0).backbone(_denoiser()).features(images)
    assert not torch.equal(other["up1"], whole["up1"])


def test_settings_out_of_range_are_refused() -> None:
    cases = {
        "architecture.width: 0 must be an integer of at least 1": lambda: EDM(width=0),
        "architecture.sigma_data: 0.0 must be above 0": lambda: EDM(sigma_data=0.0),
        "architecture.sampler.steps: 1 must be an integer of at least 2": lambda: Heun(steps=1),
        "architecture.sampler.sigma_min: 90.0 must be above 0 and below 80.0": lambda: Heun(sigma_min=90.0),
        "architecture.sampler.guidance: -1.0 must be 0 or more": lambda: Heun(guidance=-1.0),
        "the data have no classes": lambda: EDM().generator(DataSpec(1, 8, 0)),
        "needs a GAN's G and D": lambda: refuse_diffusion(EDM()),
    }
    for message, refused in cases.items():
        with pytest.raises(ConfigError, match=message):
            refused()

"""Sample i is a function of (generator, seed, i), in whatever portions it is drawn."""

import math
from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tests.support.drawn import generate, latents
from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.networks.gans.gan import ImageGenerator
from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.samples.samplers import UNCHANGED_LATENTS, LatentTransform

from ..training.tiny import CGAN8, DCGAN8, SPEC


def _network(conditional: bool, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return (CGAN8 if conditional else DCGAN8).generator(SPEC).eval()


def _drawn(network: nn.Module, bounds: list[int], labels: Tensor | None) -> Tensor:
    pieces = []
    for start, stop in pairwise(bounds):
        wanted = None if labels is None else labels[start - bounds[0] : stop - bounds[0]]
        pieces.append(generate(network, 7, stop - start, wanted, start).images)
    return torch.cat(pieces)


PORTIONS = [[0, 600], [0, 1, 600], [0, 255, 256, 257, 600], [0, 300, 599, 600], [0, 100, 200, 300, 400, 500, 600]]


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("bounds", PORTIONS[1:])
def test_samples_do_not_depend_on_portions(conditional: bool, bounds: list[int]) -> None:
    network = _network(conditional)
    labels = torch.arange(600) % 10 if conditional else None
    whole, pieces = _drawn(network, PORTIONS[0], labels), _drawn(network, bounds, labels)
    assert whole.shape == (600, 1, 8, 8)
    assert whole.dtype == torch.uint8
    # Another batch size may round a pixel that lies between two grey values the other way.
    assert int((whole.int() - pieces.int()).abs().max()) <= 1
    assert int((whole != pieces).sum()) <= 2


def test_latents_are_the_same_bits_in_any_portion() -> None:
    whole = latents(3, 0, 1000, 5)
    for start, stop in ((0, 1), (255, 257), (256, 512), (511, 1000), (999, 1000)):
        assert torch.equal(latents(3, start, stop, 5), whole[start:stop])
    assert latents(3, 4, 4, 5).shape == (0, 5)
    assert not torch.equal(latents(4, 0, 10, 5), whole[:10])
    assert abs(float(whole.mean())) < 0.05
    assert abs(float(whole.std()) - 1) < 0.05


def test_labels_are_for_conditional_generators() -> None:
    drawn = generate(_network(True), 0, 4, torch.tensor([3, 1, 4, 1]))
    assert drawn.labels is not None
    assert drawn.labels.tolist() == [3, 1, 4, 1]
    assert generate(_network(False), 0, 4).labels is None
    with pytest.raises(ValueError, match="labels"):
        generate(_network(True), 0, 4)
    with pytest.raises(ValueError, match="labels"):
        generate(_network(False), 0, 4, torch.zeros(4, dtype=torch.int64))


def test_the_label_is_what_a_conditional_sample_is_drawn_for() -> None:
    network = _network(True)
    ones, mixed = generate(network, 0, 6, torch.ones(6).long()), generate(network, 0, 6, torch.arange(6))
    assert torch.equal(ones.images[1], mixed.images[1])
    assert not torch.equal(ones.images, mixed.images)


def test_one_generator_a_class_is_one_conditional_generator() -> None:
    members = [_network(False, seed) for seed in range(3)]
    joined = PerClassGenerators(members).eval()
    assert (joined.latent, joined.classes) == (8, 3)
    y = torch.tensor([2, 0, 2, 1, 0])
    z = latents(0, 0, 5, 8)
    with torch.no_grad():
        images = joined(z, y)
        for row, label in enumerate(y.tolist()):
            torch.testing.assert_close(images[row], members[label](z[row : row + 1])[0], rtol=1e-5, atol=1e-6)
    assert len(Input(generate(joined, 0, 5, y).images, y)) == 5
    with pytest.raises(ValueError, match="need labels"):
        joined(z)


@pytest.mark.parametrize("bound", [0.2, 1.0, 2.0])
def test_truncated_latents_have_the_truncated_normal_distribution(bound: float) -> None:
    z = latents(0, 0, 2000, 5)
    narrow = LatentTransform(bound)(z)
    assert narrow.dtype == torch.float32
    assert float(narrow.abs().max()) <= bound
    assert stats.kstest(narrow.flatten().numpy(), stats.truncnorm(-bound, bound).cdf).pvalue > 0.01
    again = torch.randn(40_000, generator=torch.Generator().manual_seed(1))
    again = again[again.abs() <= bound]
    assert stats.ks_2samp(narrow.flatten().numpy(), again.numpy()).pvalue > 0.01
    assert torch.equal(narrow.flatten().argsort(stable=True), z.flatten().argsort(stable=True)), "the order stays"
    torch.testing.assert_close(LatentTransform(bound)(-z), -narrow)


def test_default_transform_keeps_latents() -> None:
    z = latents(0, 0, 2000, 5)
    assert UNCHANGED_LATENTS(z) is z
    torch.testing.assert_close(LatentTransform(30.0)(z), z, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(LatentTransform(math.inf)(z), z, rtol=1e-6, atol=1e-6)
    assert torch.equal(LatentTransform(scale=1.5)(z), 1.5 * z)
    assert torch.equal(LatentTransform(1.0, 0.5)(z), 0.5 * LatentTransform(1.0)(z)), "first narrow, then spread"


@pytest.mark.parametrize("conditional", [False, True])
def test_samples_of_transformed_latents(conditional: bool) -> None:
    network, labels = _network(conditional), torch.arange(20) % 10 if conditional else None
    spread = LatentTransform(0.5, 2.0)
    drawn = generate(network, 3, 20, labels, latent_transform=spread).images  # type: ignore[arg-type]
    with torch.no_grad():
        expected = network(spread(latents(3, 0, 20, 8)), labels)
    assert int((drawn.float() - (expected + 1) * 127.5).abs().max()) <= 1
    plain = generate(network, 3, 20, labels).images  # type: ignore[arg-type]
    assert not torch.equal(drawn, plain)
    assert torch.equal(generate(network, 3, 20, labels, latent_transform=UNCHANGED_LATENTS).images, plain)  # type: ignore[arg-type]


def test_transforms_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^truncation: 0.0 must be a number above 0, or null$"):
        LatentTransform(0.0)
    with pytest.raises(ConfigError, match=r"^scale: -1.0 must be a number of 0 or more$"):
        LatentTransform(scale=-1.0)


class _Constant(ImageGenerator):
    """A generator whose images all have one value."""

    latent, classes = 8, 0

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, z: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.value.expand(len(z), 1, 8, 8)


@pytest.mark.parametrize("transform", [UNCHANGED_LATENTS, LatentTransform(0.5), LatentTransform(scale=0.1)])
def test_members_of_a_mixture_are_equally_frequent_under_any_latent_transform(transform: LatentTransform) -> None:
    mixture = GeneratorMixture([_Constant(value) for value in (-1.0, 0.0, 1.0)])
    images = generate(mixture, 0, 6000, latent_transform=transform).images[:, 0, 0, 0]
    assert stats.chisquare(images.unique(return_counts=True)[1].numpy()).pvalue > 0.001
    assert len(images.unique()) == 3

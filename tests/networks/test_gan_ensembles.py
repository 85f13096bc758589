"""Several generators or discriminators as one."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.drawn import generate, latents
from trigan.networks.gans.gan_ensembles import DiscriminatorEnsemble, GeneratorMixture, PerClassGenerators
from trigan.samples.samplers import LatentTransform

from ..training.tiny import CGAN8, DCGAN8, SPEC


def _members(count: int, conditional: bool = False) -> list[nn.Module]:
    torch.manual_seed(0)
    return [(CGAN8 if conditional else DCGAN8).generator(SPEC).eval() for _ in range(count)]


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_each_sample_comes_from_the_member_that_its_latent_selects(conditional: bool, count: int) -> None:
    members = _members(count, conditional)
    mixture = GeneratorMixture(members).eval()
    assert (mixture.latent, mixture.classes) == (9, 10 if conditional else 0)
    z, y = latents(0, 0, 60, 9), torch.arange(60) % 10 if conditional else None
    chosen = mixture.member_index(z)
    normal = torch.distributions.Normal(0.0, 1.0)
    assert torch.equal(chosen, (normal.cdf(z[:, 8]) * count).floor().long())
    with torch.no_grad():
        images = mixture(z, y)
        for index, member in enumerate(members):
            rows = chosen == index
            assert 60 / count / 2 < int(rows.sum()) < 60 / count * 2
            own = member(z[rows, :8], None if y is None else y[rows])
            torch.testing.assert_close(images[rows], own, rtol=1e-5, atol=1e-6)


def test_members_are_selected_equally_often() -> None:
    counts = torch.bincount(GeneratorMixture(_members(3)).member_index(latents(0, 0, 6000, 9)))
    assert (counts.double() / 2000 - 1).abs().max() < 0.07


def test_extreme_latents_select_a_member() -> None:
    z = torch.zeros(4, 9)
    z[:, 8] = torch.tensor([-30.0, 30.0, -torch.inf, torch.inf])
    assert GeneratorMixture(_members(3)).member_index(z).tolist() == [0, 2, 0, 2]


def test_a_mixture_of_one_is_its_member() -> None:
    (member,) = members = _members(1)
    z = latents(0, 0, 20, 9)
    with torch.no_grad():
        torch.testing.assert_close(GeneratorMixture(members).eval()(z), member(z[:, :8]), rtol=0, atol=0)


def test_scaled_latents_select_the_same_members() -> None:
    """With all latents at 0 each sample is the image of z = 0 of its member."""
    members = _members(2)
    mixture = GeneratorMixture(members).eval()
    images = generate(mixture, 0, 40, latent_transform=LatentTransform(scale=0.0)).images
    centres = [generate(member, 0, 1, latent_transform=LatentTransform(scale=0.0)).images[0] for member in members]  # type: ignore[arg-type]
    chosen = mixture.member_index(latents(0, 0, 40, 9)).tolist()
    assert set(chosen) == {0, 1}
    for image, member in zip(images, chosen, strict=True):
        assert int((image.int() - centres[member].int()).abs().max()) <= 1


def test_a_mixture_of_one_generator_a_class() -> None:
    mixture = GeneratorMixture([PerClassGenerators(_members(10)), PerClassGenerators(_members(10))]).eval()
    assert (mixture.latent, mixture.classes) == (9, 10)
    assert generate(mixture, 0, 30, torch.arange(30) % 10).images.shape == (30, 1, 8, 8)
    with pytest.raises(ValueError, match="need labels"):
        mixture(latents(0, 0, 4, 9))


def test_an_ensemble_gives_the_mean_of_its_logits() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            return x.flatten(1).sum(1) * self.factor + (0 if y is None else y)

    images, labels = torch.rand(5, 1, 2, 2), torch.arange(5)
    ensemble = DiscriminatorEnsemble([Scaled(1.0), Scaled(3.0)])
    torch.testing.assert_close(ensemble(images), 2 * images.flatten(1).sum(1))
    torch.testing.assert_close(ensemble(images, labels), 2 * images.flatten(1).sum(1) + labels)

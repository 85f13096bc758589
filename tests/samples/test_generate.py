"""Sample i is a function of (generator, seed, i), in whatever portions it is drawn."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from trigan.networks.several import PerClass
from trigan.rng import generator
from trigan.samples.generate import BLOCK, Samples, generate, latents

from ..modules.tiny import CGAN8, DCGAN8, SPEC


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
def test_portions_do_not_matter(conditional: bool, bounds: list[int]) -> None:
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
    first = torch.randn(BLOCK, 5, generator=generator(3, "latents", 1))
    assert torch.equal(whole[BLOCK : 2 * BLOCK], first)
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
    joined = PerClass(members).eval()
    assert (joined.latent, joined.classes) == (8, 3)
    y = torch.tensor([2, 0, 2, 1, 0])
    z = latents(0, 0, 5, 8)
    with torch.no_grad():
        images = joined(z, y)
        for row, label in enumerate(y.tolist()):
            torch.testing.assert_close(images[row], members[label](z[row : row + 1])[0], rtol=1e-5, atol=1e-6)
    assert len(Samples(generate(joined, 0, 5, y).images, y)) == 5
    with pytest.raises(ValueError, match="needs labels"):
        joined(z)

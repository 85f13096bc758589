"""Samplers: a generator, or what stands in for it. An image is a function of (sampler, seed, number)."""

import pytest
import torch

from tests.support.drawn import generate
from trigan.samples.samplers import (
    GeneratorSampler,
    LabelledSampler,
    LatentTransform,
    NoiseSampler,
    Sampler,
    UnlabelledSampler,
)

from ..training.tiny import CGAN8, DCGAN8, SPEC, view

WANTED = torch.tensor([0, 0, 3, 9, 3, 1])


def _samplers() -> dict[str, Sampler]:
    torch.manual_seed(0)
    return {
        "conditional": GeneratorSampler(CGAN8.generator(SPEC).eval()),
        "unconditional": GeneratorSampler(DCGAN8.generator(SPEC).eval()),
        "unlabelled": UnlabelledSampler(view().unlabelled),
        "labelled": LabelledSampler(view().labelled),
        "noise": NoiseSampler((1, 8, 8)),
    }


@pytest.mark.parametrize("name", _samplers())
def test_an_image_is_a_function_of_seed_number_and_label(name: str) -> None:
    sampler, numbers = _samplers()[name], torch.tensor([70, 3, 3, 199, 0, 12])
    labels = torch.arange(200) % 10
    whole = sampler.sample(torch.arange(200), labels if sampler.conditional else None, 5)
    some = sampler.sample(numbers, labels[numbers] if sampler.conditional else None, 5)
    assert whole.dtype == some.dtype == torch.uint8
    assert int((whole[numbers].int() - some.int()).abs().max()) <= 1, "another batch may round the other way"
    assert int((whole[numbers] != some).sum()) <= 2
    assert not torch.equal(sampler.sample(torch.arange(200), labels if sampler.conditional else None, 6), whole)


def test_conditional_generators_get_the_labels() -> None:
    torch.manual_seed(0)
    conditional, plain = CGAN8.generator(SPEC).eval(), DCGAN8.generator(SPEC).eval()
    drawn = GeneratorSampler(conditional).candidates(10, WANTED, 5)
    assert torch.equal(drawn.known_labels, WANTED)
    assert torch.equal(drawn.images, generate(conditional, 5, 6, WANTED, 10).images)
    narrow = GeneratorSampler(conditional, LatentTransform(0.5)).candidates(10, WANTED, 5)
    assert not torch.equal(narrow.images, drawn.images)
    drawn = GeneratorSampler(plain).candidates(10, WANTED, 5)
    assert drawn.labels is None
    assert torch.equal(drawn.images, generate(plain, 5, 6, start=10).images)


def test_unlabelled_images_are_drawn_once_without_labels() -> None:
    pool = view().unlabelled
    sampler = UnlabelledSampler(pool)
    portions = [sampler.candidates(start, torch.zeros(90), 3) for start in (0, 90, 180, 270)]
    assert [len(portion) for portion in portions] == [90, 90, 20, 0]
    assert all(portion.labels is None for portion in portions)
    seen = torch.cat([portion.images for portion in portions])
    rows = lambda images: sorted(map(tuple, images.flatten(1).tolist()))  # noqa: E731
    assert rows(seen) == rows(pool)
    assert not torch.equal(seen, pool), "the order is the pool's own"
    assert not torch.equal(sampler.candidates(0, torch.zeros(90), 4).images, portions[0].images)


def test_labelled_images_are_drawn_with_replacement_within_their_class() -> None:
    labelled = view().labelled
    sampler = LabelledSampler(labelled)
    wanted = torch.arange(10).repeat_interleave(50)
    drawn = sampler.candidates(0, wanted, 3)
    assert torch.equal(drawn.known_labels, wanted)
    for label in range(10):
        members = {tuple(row) for row in labelled.images[labelled.labels == label].flatten(1).tolist()}
        seen = {tuple(row) for row in drawn.images[wanted == label].flatten(1).tolist()}
        assert seen == members, "50 draws with replacement show each of 4 images"
    assert not torch.equal(sampler.candidates(500, wanted, 3).images, drawn.images)
    with pytest.raises(ValueError, match="for labels"):
        sampler.sample(torch.arange(2), None, 0)


def test_noise_is_for_any_label() -> None:
    drawn = NoiseSampler((1, 8, 8)).candidates(0, WANTED.repeat(100), 3)
    assert torch.equal(drawn.known_labels, WANTED.repeat(100))
    assert drawn.images.shape == (600, 1, 8, 8)
    assert abs(float(drawn.images.float().mean()) - 127.5) < 1.5
    assert (int(drawn.images.min()), int(drawn.images.max())) == (0, 255)

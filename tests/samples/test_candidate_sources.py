"""Where candidates come from: a generator, or what stands in for it."""

from functools import partial

import torch

from trigan.samples.candidate_sources import CandidateSource, from_generator, from_labelled, from_noise, from_unlabelled
from trigan.samples.generate import UNCHANGED_LATENTS, LatentTransform, generate

from ..training.tiny import CGAN8, DCGAN8, SPEC, view

WANTED = torch.tensor([0, 0, 3, 9, 3, 1])


def test_conditional_generators_get_the_labels() -> None:
    torch.manual_seed(0)
    conditional, plain = CGAN8.generator(SPEC).eval(), DCGAN8.generator(SPEC).eval()
    source = partial(from_generator, conditional, 5, UNCHANGED_LATENTS)
    assert source(10, WANTED).labels is WANTED
    assert torch.equal(source(10, WANTED).images, generate(conditional, 5, 6, WANTED, 10).images)
    narrow = from_generator(conditional, 5, LatentTransform(0.5), 10, WANTED).images
    assert torch.equal(narrow, generate(conditional, 5, 6, WANTED, 10, LatentTransform(0.5)).images)
    assert not torch.equal(narrow, source(10, WANTED).images)
    source = partial(from_generator, plain, 5, UNCHANGED_LATENTS)
    assert source(10, WANTED).labels is None
    assert torch.equal(source(10, WANTED).images, generate(plain, 5, 6, start=10).images)


def test_unlabelled_images_are_drawn_once_without_labels() -> None:
    pool = view().unlabelled
    source = partial(from_unlabelled, pool, 3)
    portions = [source(start, torch.zeros(90)) for start in (0, 90, 180, 270)]
    assert [len(portion) for portion in portions] == [90, 90, 20, 0]
    assert all(portion.labels is None for portion in portions)
    seen = torch.cat([portion.images for portion in portions])
    rows = lambda images: sorted(map(tuple, images.flatten(1).tolist()))  # noqa: E731
    assert rows(seen) == rows(pool)
    assert not torch.equal(seen, pool), "the order is the pool's own"
    assert not torch.equal(from_unlabelled(pool, 4, 0, torch.zeros(90)).images, portions[0].images)


def test_labelled_images_are_drawn_with_replacement_within_their_class() -> None:
    labelled = view().labelled
    source: CandidateSource = partial(from_labelled, labelled, 3)
    wanted = torch.arange(10).repeat_interleave(50)
    drawn = source(0, wanted)
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, wanted)
    for label in range(10):
        members = {tuple(row) for row in labelled.images[labelled.labels == label].flatten(1).tolist()}
        seen = {tuple(row) for row in drawn.images[wanted == label].flatten(1).tolist()}
        assert seen == members, "50 draws with replacement show each of 4 images"
    assert torch.equal(source(0, wanted).images, drawn.images)
    assert not torch.equal(source(500, wanted).images, drawn.images)


def test_noise_has_the_requested_labels() -> None:
    source: CandidateSource = partial(from_noise, (1, 8, 8), 3)
    drawn = source(0, WANTED.repeat(100))
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, WANTED.repeat(100))
    assert drawn.images.shape == (600, 1, 8, 8)
    assert abs(float(drawn.images.float().mean()) - 127.5) < 1.5
    assert (int(drawn.images.min()), int(drawn.images.max())) == (0, 255)
    assert not torch.equal(drawn.images, source(600, WANTED.repeat(100)).images)

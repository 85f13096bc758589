"""Where candidates come from: a generator, or what stands in for it."""

import torch

from trigan.samples.candidate_sources import CandidateSource, FromGenerator, FromLabelled, FromNoise, FromUnlabelled
from trigan.samples.generate import LatentTransform, generate

from ..training.tiny import CGAN8, DCGAN8, SPEC, view

WANTED = torch.tensor([0, 0, 3, 9, 3, 1])


def test_conditional_generators_get_the_labels() -> None:
    torch.manual_seed(0)
    conditional, plain = CGAN8.generator(SPEC).eval(), DCGAN8.generator(SPEC).eval()
    source = FromGenerator(conditional, 5)
    assert source.label_conditional
    assert torch.equal(source.draw(10, WANTED).images, generate(conditional, 5, 6, WANTED, 10).images)
    narrow = FromGenerator(conditional, 5, LatentTransform(0.5)).draw(10, WANTED).images
    assert torch.equal(narrow, generate(conditional, 5, 6, WANTED, 10, LatentTransform(0.5)).images)
    assert not torch.equal(narrow, source.draw(10, WANTED).images)
    source = FromGenerator(plain, 5)
    assert not source.label_conditional
    assert source.draw(10, WANTED).labels is None
    assert torch.equal(source.draw(10, WANTED).images, generate(plain, 5, 6, start=10).images)


def test_unlabelled_images_are_drawn_once_without_labels() -> None:
    pool = view().unlabelled
    source = FromUnlabelled(pool, 3)
    assert not source.label_conditional
    portions = [source.draw(start, torch.zeros(90)) for start in (0, 90, 180, 270)]
    assert [len(portion) for portion in portions] == [90, 90, 20, 0]
    assert all(portion.labels is None for portion in portions)
    seen = torch.cat([portion.images for portion in portions])
    rows = lambda images: sorted(map(tuple, images.flatten(1).tolist()))  # noqa: E731
    assert rows(seen) == rows(pool)
    assert not torch.equal(seen, pool), "the order is the pool's own"
    assert not torch.equal(FromUnlabelled(pool, 4).draw(0, torch.zeros(90)).images, portions[0].images)


def test_labelled_images_are_drawn_with_replacement_within_their_class() -> None:
    labelled = view().labelled
    source: CandidateSource = FromLabelled(labelled.images, labelled.labels, 3)
    assert source.label_conditional
    wanted = torch.arange(10).repeat_interleave(50)
    drawn = source.draw(0, wanted)
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, wanted)
    for label in range(10):
        members = {tuple(row) for row in labelled.images[labelled.labels == label].flatten(1).tolist()}
        seen = {tuple(row) for row in drawn.images[wanted == label].flatten(1).tolist()}
        assert seen == members, "50 draws with replacement show each of 4 images"
    assert torch.equal(source.draw(0, wanted).images, drawn.images)
    assert not torch.equal(source.draw(500, wanted).images, drawn.images)


def test_noise_has_the_requested_labels() -> None:
    source: CandidateSource = FromNoise((1, 8, 8), 3)
    drawn = source.draw(0, WANTED.repeat(100))
    assert source.label_conditional
    assert drawn.labels is not None
    assert torch.equal(drawn.labels, WANTED.repeat(100))
    assert drawn.images.shape == (600, 1, 8, 8)
    assert abs(float(drawn.images.float().mean()) - 127.5) < 1.5
    assert (int(drawn.images.min()), int(drawn.images.max())) == (0, 255)
    assert not torch.equal(drawn.images, source.draw(600, WANTED.repeat(100)).images)

"""``augmentation.flip=auto``: what the labelled images allow, and where the answer goes."""

from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from trigan.datasets.augmentation import ClassicAugmentation
from trigan.datasets.mirror_check import FEWEST, LIMIT, MirrorCheck, mirror_check, with_flips_decided
from trigan.datasets.randaugment import RandAugment
from trigan.datasets.types import DataSpec, ImageDataset, LabelledImages, TrainingView


def some(images: torch.Tensor, labels: torch.Tensor, per_class: int) -> LabelledImages:
    rows = torch.cat([torch.nonzero(labels == label).flatten()[:per_class] for label in labels.unique()])
    return LabelledImages(images[rows], labels[rows])


def photographs() -> LabelledImages:
    """Pieces of scikit-learn's two photographs, of which one shows a temple and the other a flower."""
    pieces, labels = [], []
    for label, photograph in enumerate(load_sample_images().images):
        whole = torch.tensor(photograph).permute(2, 0, 1)
        for piece in range(24):
            top, left = 60 * (piece // 8), 70 * (piece % 8)
            pieces.append(whole[:, top : top + 64, left : left + 64])
            labels.append(label)
    return LabelledImages(torch.stack(pieces), torch.tensor(labels))


def letters() -> LabelledImages:
    """b and d at eight places: each is about the mirror image of the other."""
    images = []
    for letter in "bd":
        for place in range(8):
            image = Image.new("L", (32, 32))
            at = 8 + place % 4, 2 + 3 * (place // 4)
            ImageDraw.Draw(image).text(at, letter, fill=255, font=ImageFont.load_default(20))
            images.append(torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(1, 32, 32))
    return LabelledImages(torch.stack(images), torch.arange(2).repeat_interleave(8))


def test_digits_and_letters_are_not_mirrored_and_photographs_are(digits: ImageDataset) -> None:
    for per_class in (5, 10, 50):
        found = mirror_check(some(digits.images, digits.labels, per_class))
        assert not found.flip
        assert found.lost > 5 * found.won
    assert not mirror_check(letters()).flip
    found = mirror_check(photographs())
    assert found.flip
    assert found.told_apart > 24


def test_classes_that_differ_by_their_side_are_not_mirrored(digits: ImageDataset) -> None:
    images = digits.images[digits.labels == 3][:40]
    sides = torch.arange(len(images)) % 2
    turned = torch.where(sides[:, None, None, None] == 1, images.flip(-1), images)
    assert not mirror_check(LabelledImages(turned, sides)).flip


@pytest.mark.parametrize(
    ("counts", "flip"),
    [
        (MirrorCheck(100, 90, 5, 0), False),  # p = 1/32
        (MirrorCheck(100, 90, 4, 0), True),  # p = 1/16
        (MirrorCheck(100, 90, 8, 7), True),
        (MirrorCheck(100, 90, 60, 40), False),  # p = 0.028
        (MirrorCheck(100, FEWEST - 1, 0, 0), False),  # nothing could be seen
        (MirrorCheck(100, FEWEST, 0, 0), True),
    ],
)
def test_the_sign_test(counts: MirrorCheck, flip: bool) -> None:
    assert counts.flip == flip


def test_one_image_a_class_says_nothing_and_many_images_are_sampled(digits: ImageDataset) -> None:
    found = mirror_check(some(digits.images, digits.labels, 1))
    assert (found.images, found.told_apart, found.flip) == (10, 0, False)
    whole = LabelledImages(digits.images, digits.labels)
    assert mirror_check(whole).images == LIMIT
    assert mirror_check(whole) == mirror_check(whole)


@dataclass(frozen=True)
class Recipe:
    augmentation: object
    others: tuple[object, ...] = ()


def test_every_undecided_flip_of_a_strategy_is_decided_and_labels_count_as_read(digits: ImageDataset) -> None:
    auto, never = ClassicAugmentation(crop=1, flip="auto"), ClassicAugmentation(crop=2)

    def view(labelled: LabelledImages) -> TrainingView:
        channels, size = labelled.images.shape[1:3]
        return TrainingView(DataSpec(channels, size, 10), labelled, None, torch.empty(0), torch.empty(0))

    seen = view(photographs())
    strategy = Recipe(auto, (never, Recipe(RandAugment(auto))))
    decided, noted = with_flips_decided(strategy, seen)
    assert decided == Recipe(replace(auto, flip=True), (never, Recipe(RandAugment(replace(auto, flip=True)))))
    assert noted["mirror_check"]["flip"] is True
    assert seen.taken["L"] == len(photographs())
    decided, noted = with_flips_decided(strategy, view(some(digits.images, digits.labels, 10)))
    assert decided.augmentation == replace(auto, flip=False)
    assert noted["mirror_check"]["lost"] > 10
    unread = view(photographs())
    plain = Recipe(never, (RandAugment(never),))
    assert with_flips_decided(plain, unread) == (plain, {})
    assert with_flips_decided(plain, unread)[0] is plain
    assert unread.taken["L"] == 0


def test_the_order_of_images_does_not_matter(digits: ImageDataset) -> None:
    few = some(digits.images, digits.labels, 10)
    order = torch.randperm(len(few), generator=torch.Generator().manual_seed(0))
    assert mirror_check(LabelledImages(few.images[order], few.labels[order])) == mirror_check(few)

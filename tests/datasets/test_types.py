import pytest
import torch
from tensor_datasets import from_tensors

from trigan.datasets.types import DataSpec
from trigan.errors import DataError

IMAGES = torch.randint(256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def test_spec_and_names() -> None:
    source = from_tensors("x", IMAGES, LABELS)
    assert source.spec == DataSpec(channels=1, size=8, classes=3)
    assert source.class_names == ("0", "1", "2")


def test_fingerprint_covers_pixels_labels_order_and_test_marks() -> None:
    marks = torch.tensor([False, False, False, True, True, True])
    changed = IMAGES.clone()
    changed[5, 0, 7, 7] ^= 1
    swapped = torch.tensor([1, 0, 2, 3, 4, 5])
    variants = [
        from_tensors("x", IMAGES, LABELS),
        from_tensors("x", changed, LABELS),
        from_tensors("x", IMAGES, torch.tensor([0, 1, 2, 0, 1, 1])),
        from_tensors("x", IMAGES[swapped], LABELS[swapped]),
        from_tensors("x", IMAGES, LABELS, marks),
    ]
    assert len({source.fingerprint for source in variants}) == len(variants)
    assert from_tensors("other name", IMAGES, LABELS).fingerprint == variants[0].fingerprint


def test_a_grey_image_counts_as_its_rgb_copy() -> None:
    grey, colour = (from_tensors("x", images, LABELS) for images in (IMAGES, IMAGES.expand(-1, 3, -1, -1)))
    assert torch.equal(grey.digests, colour.digests)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, "must be uint8"),
        (IMAGES.expand(-1, 2, -1, -1), LABELS, "1 or 3"),
        (IMAGES[..., :7], LABELS, "data.image_size"),
        (IMAGES[..., :4, :4], LABELS, "8 to 512"),
        (torch.zeros(2, 1, 513, 513, dtype=torch.uint8), torch.tensor([0, 1]), "8 to 512"),
        (IMAGES, LABELS[:5], "labels must be int64"),
        (IMAGES, LABELS * 0, r"only one class \('0'\)"),
        (IMAGES, LABELS - 2, "only one class"),
        (IMAGES, LABELS * 0 - 1, "no labels"),
        (IMAGES, torch.tensor([0, 1, 2, 0, 1, -2]), "must lie in 0..2"),
    ],
)
def test_invalid_data_sets_are_refused(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_tensors("x", images, labels)


def test_a_test_image_needs_a_label() -> None:
    with pytest.raises(DataError, match="test set has no label"):
        from_tensors("x", IMAGES, torch.tensor([0, 1, 2, 0, 1, -1]), torch.tensor([False] * 5 + [True]))

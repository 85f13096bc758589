"""A source's own validation part: labels for validation come from it, and from nowhere else."""

from dataclasses import replace

import pytest
import torch
from tensor_datasets import from_tensors

from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import SymmetricNoise
from trigan.datasets.splits.regime import ExponentialImbalance, Regime
from trigan.datasets.types import ImageDataset, fingerprint_of
from trigan.errors import DataError

VALIDATION, TEST = 300, 500


def with_parts(digits: ImageDataset, groups: torch.Tensor | None = None, test: bool = True) -> ImageDataset:
    """The digits; before the last 500, which may be marked as the test set, 300 are the validation part."""
    place = torch.arange(len(digits.labels)) - (len(digits.labels) - TEST - VALIDATION)
    marks, tested = (place >= 0) & (place < VALIDATION), place >= VALIDATION
    source = from_tensors("three parts", digits.images, digits.labels, tested if test else None, groups)
    known = (source.official_test, groups, marks)
    return replace(source, official_validation=marks, fingerprint=fingerprint_of(source.digests, source.labels, *known))


def test_the_mark_of_the_part_is_in_the_fingerprint(digits: ImageDataset) -> None:
    source = with_parts(digits)
    without = fingerprint_of(source.digests, source.labels, source.official_test)
    assert source.fingerprint != without


@pytest.mark.parametrize(
    ("regime", "training", "validating"),
    [
        (Regime(unlabelled="none"), "all", "all"),
        (Regime(validation="none"), "all", 0),
        (Regime(labels_per_class=20), 16, 4),
        (Regime(labels_per_class=10), 10, 0),
        (Regime(labels_per_class=10, validation="within"), 8, 2),
        (Regime(labels_per_class=20, validation="large"), 20, "all"),
        (Regime(labels_per_class=20, validation_fraction=0.5), 10, 10),
    ],
)
@pytest.mark.parametrize("test", [True, False])
def test_validation_labels_come_from_the_part(
    digits: ImageDataset, regime: Regime, training: int | str, validating: int | str, test: bool
) -> None:
    source = with_parts(digits, test=test)
    assert source.official_validation is not None
    own = set(torch.nonzero(source.official_validation)[:, 0].tolist())
    drawn = draw_split(source, regime, 3)
    parts = {name: set(rows.tolist()) for name, rows in drawn.parts.items()}
    assert parts["validation"] <= own
    assert not own & (parts["labelled"] | parts["unlabelled"] | parts["test"])
    counts = drawn.info.validation.class_counts if drawn.info.validation.size else [0] * 10
    if validating == "all":
        assert parts["validation"] == own
    else:
        assert counts == [validating] * 10
    if training == "all":
        assert parts["labelled"] | parts["test"] | own == set(range(len(source.labels)))
    else:
        assert drawn.info.labelled.class_counts == [training] * 10
    assert drawn.view.sizes.validation == len(parts["validation"])


def test_trials_draw_other_validation_labels_and_the_regime_applies_to_them(digits: ImageDataset) -> None:
    source = with_parts(digits)
    regime = Regime(labels_per_class=20)
    first, second = (draw_split(source, regime, trial).info.validation for trial in (0, 1))
    assert first.sha256 != second.sha256
    noisy = draw_split(source, replace(regime, noise=SymmetricNoise(0.5)), 0)
    assert noisy.view.validation is not None
    clean = source.labels[torch.from_numpy(noisy.parts.validation)]
    assert int((noisy.view.validation.labels != clean).sum()) == 20
    thinned = draw_split(source, Regime(imbalance=ExponentialImbalance(10.0)), 0).info.validation.class_counts
    assert thinned is not None
    assert thinned[0] >= 8 * thinned[9]


def test_copies_of_training_and_test_images_do_not_validate(digits: ImageDataset) -> None:
    source = with_parts(digits)
    images = source.images.clone()
    start = len(images) - TEST - VALIDATION
    images[start], images[start + 1] = images[0], images[-1]
    labels = source.labels.clone()
    labels[start], labels[start + 1] = labels[0], labels[-1]
    copied = from_tensors("copies", images, labels, source.official_test)
    drawn = draw_split(replace(copied, official_validation=source.official_validation), Regime(), 0)
    assert drawn.info.validation.size == VALIDATION - 2
    assert {start, start + 1}.isdisjoint(drawn.parts.validation.tolist())


def test_a_group_on_both_sides_of_the_part_is_refused(digits: ImageDataset) -> None:
    groups = torch.arange(len(digits.labels)) // 5
    shared = with_parts(digits, groups + 0)
    start = len(digits.labels) - TEST - VALIDATION
    assert start % 5, "a group of five straddles the border"
    with pytest.raises(DataError, match="on both sides of the official"):
        draw_split(shared, Regime(), 0)
    sound = torch.where(torch.arange(len(groups)) < start, groups, 1000 + (torch.arange(len(groups)) - start) // 5)
    drawn = draw_split(with_parts(digits, sound), Regime(labels_per_class=20), 0)
    assert drawn.info.validation.class_counts == [4] * 10
    assert drawn.info.groups is not None

import gc
import json
import types
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from tensor_datasets import from_tensors

from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import PairNoise, SymmetricNoise
from trigan.datasets.splits.regime import ExponentialImbalance, Regime, StepImbalance
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

FULL = Regime(validation="none")


def rows_of(source: ImageDataset, images: torch.Tensor) -> set[int]:
    """Source indices of images (the digits have no duplicates)."""
    index = {image.numpy().tobytes(): i for i, image in enumerate(source.images)}
    return {index[image.numpy().tobytes()] for image in images}


def parts(source: ImageDataset, drawn: DataSplit) -> dict[str, set[int]]:
    view = drawn.view
    return {
        "labelled": rows_of(source, view.labelled.images),
        "validation": rows_of(source, view.validation.images) if view.validation else set(),
        "unlabelled": rows_of(source, view.unlabelled),
        "test": rows_of(source, drawn.test.open("frozen").images),
    }


def test_parts_are_disjoint_and_complete(digits: ImageDataset) -> None:
    found = parts(digits, draw_split(digits, Regime(labels_per_class=20), 0))
    assert set.union(*found.values()) == set(range(len(digits.labels)))
    assert sum(len(part) for part in found.values()) == len(digits.labels)


def test_equal_fingerprint_and_trial_give_equal_splits(digits: ImageDataset) -> None:
    regime = Regime(labels_per_class=5)
    first, again, other = draw_split(digits, regime, 0), draw_split(digits, regime, 0), draw_split(digits, regime, 1)
    assert first.info == again.info
    assert torch.equal(first.view.labelled.images, again.view.labelled.images)
    assert torch.equal(first.view.unlabelled, again.view.unlabelled)
    assert first.info.labelled.sha256 != other.info.labelled.sha256
    assert first.info.test.sha256 != other.info.test.sha256


def test_the_hash_is_the_documented_one(digits: ImageDataset) -> None:
    """The labelled image of a class with one label is the one with the smallest SHA-256, by its documented recipe."""
    import hashlib

    drawn = draw_split(digits, Regime(labels_per_class=1), 3)
    pool = sorted(set(range(len(digits.labels))) - rows_of(digits, drawn.test.open("x").images))

    def key(i: int) -> bytes:
        return hashlib.sha256(f"{digits.fingerprint}/3/labels/".encode() + digits.digests[i].numpy().tobytes()).digest()

    expected = {min((i for i in pool if digits.labels[i] == k), key=key) for k in range(10)}
    assert rows_of(digits, drawn.view.labelled.images) == expected


def test_redrawn_test_set_is_a_stratified_30_percent(digits: ImageDataset) -> None:
    drawn = draw_split(digits, FULL, 0)
    counts = torch.bincount(drawn.test.open("x").labels).tolist()
    assert counts == [round(0.3 * n) for n in torch.bincount(digits.labels).tolist()]
    assert drawn.info.test_redrawn


def test_official_test_set_stays(with_test: ImageDataset) -> None:
    facts = [draw_split(with_test, Regime(labels_per_class=5), trial).info for trial in (0, 1)]
    assert facts[0].test.sha256 == facts[1].test.sha256
    assert facts[0].labelled.sha256 != facts[1].labelled.sha256
    assert facts[0].test.size == 500
    assert not facts[0].test_redrawn
    test = draw_split(with_test, FULL, 0).test.open("x")
    assert torch.equal(test.images, with_test.images[-500:])
    assert torch.equal(test.labels, with_test.labels[-500:])


def test_training_copies_of_test_images_are_dropped(with_test: ImageDataset) -> None:
    images = torch.cat([with_test.images[-3:], with_test.images])
    labels = torch.cat([with_test.labels[-3:], with_test.labels])
    marks = torch.cat([torch.zeros(3, dtype=torch.bool), with_test.official_test])
    drawn = draw_split(from_tensors("leaky", images, labels, marks), FULL, 0)
    assert drawn.info.dropped_in_test == 3
    assert drawn.info.n_train == len(with_test.labels) - 500
    pixels = {image.numpy().tobytes() for image in drawn.view.labelled.images}
    assert not pixels & {image.numpy().tobytes() for image in with_test.images[-3:]}


@pytest.mark.parametrize("regime", [Regime(labels_per_class=15), Regime(fraction=0.5), FULL, Regime()])
@pytest.mark.parametrize("trial", range(4))
def test_duplicates_stay_in_one_part(digits: ImageDataset, regime: Regime, trial: int) -> None:
    copies = torch.arange(600).repeat_interleave(3)
    source = from_tensors("copies", digits.images[copies], digits.labels[copies])
    drawn = draw_split(source, regime, trial)
    view, test = drawn.view, drawn.test.open("x")
    found = [view.labelled.images, view.unlabelled, test.images]
    found += [view.validation.images] if view.validation else []
    pixels = [{image.numpy().tobytes() for image in part} for part in found]
    assert sum(len(part) for part in pixels) == len(set.union(*pixels))
    kept = sum(len(part) for part in found)
    assert kept + drawn.info.dropped_duplicates == len(copies)
    if regime.labels_per_class:
        assert drawn.info.labelled.class_counts == [12] * 10
        assert drawn.info.validation.class_counts == [3] * 10


def test_copies_with_other_labels_are_dropped(digits: ImageDataset) -> None:
    images = torch.cat([digits.images, digits.images[:5]])
    labels = torch.cat([digits.labels, (digits.labels[:5] + 1) % 10])
    drawn = draw_split(from_tensors("conflicts", images, labels), FULL, 0)
    assert drawn.info.dropped_duplicates == 5
    assert drawn.info.labelled.size + drawn.info.test.size == len(digits.labels)


def test_budgets_are_exact_and_nested(digits: ImageDataset) -> None:
    ten, twenty = (draw_split(digits, Regime(labels_per_class=n, validation="none"), 0) for n in (10, 20))
    assert ten.info.labelled.class_counts == [10] * 10
    assert ten.view.validation is None
    assert twenty.info.labelled.class_counts == [20] * 10
    assert rows_of(digits, ten.view.labelled.images) < rows_of(digits, twenty.view.labelled.images)


def test_training_images_do_not_depend_on_the_budget(digits: ImageDataset) -> None:
    ten, twenty, other = (
        draw_split(digits, Regime(labels_per_class=n, validation="none"), trial).view
        for n, trial in ((10, 0), (20, 0), (10, 1))
    )
    assert len(ten.training_images) == 100 + len(ten.unlabelled)
    assert torch.equal(ten.training_images, twenty.training_images)
    assert not torch.equal(ten.training_images, other.training_images)
    assert rows_of(digits, ten.training_images) == rows_of(digits, ten.labelled.images) | rows_of(
        digits, ten.unlabelled
    )


def test_large_validation_adds_to_the_labels(digits: ImageDataset) -> None:
    plain = draw_split(digits, Regime(labels_per_class=10), 0)
    large = draw_split(digits, Regime(labels_per_class=10, validation="large"), 0)
    assert rows_of(digits, plain.view.labelled.images) == rows_of(digits, large.view.labelled.images)
    pool = torch.bincount(digits.labels) - torch.bincount(plain.test.open("x").labels)
    assert large.info.validation.class_counts == [round(n / 6) for n in pool.tolist()]
    assert large.info.stamps == ("val-large",)
    assert plain.info.stamps == ()


def test_too_few_labels_or_images_are_refused(digits: ImageDataset) -> None:
    with pytest.raises(DataError, match=r"class '8' has 122 labelled training images, but regime.labels_per_class=123"):
        draw_split(digits, Regime(labels_per_class=123), 0)
    with pytest.raises(DataError, match=r"regime.unlabelled=5000"):
        draw_split(digits, Regime(labels_per_class=2, unlabelled=5000), 0)


def test_unlabelled_choices(digits: ImageDataset) -> None:
    sizes = [
        draw_split(digits, Regime(labels_per_class=10, unlabelled=u), 0).info.unlabelled.size
        for u in ("none", 77, "all")
    ]
    assert sizes == [0, 77, 1258 - 100]


def test_imbalance_thins_labelled_and_unlabelled(digits: ImageDataset) -> None:
    regime = Regime(labels_per_class=50, imbalance=ExponentialImbalance(10), validation="none")
    drawn = draw_split(digits, regime, 0)
    assert drawn.info.labelled.class_counts == [round(50 * 0.1 ** (k / 9)) for k in range(10)]
    hidden = digits.labels[sorted(rows_of(digits, drawn.view.unlabelled))]
    pool = torch.bincount(hidden, minlength=10) + torch.tensor(drawn.info.labelled.class_counts)
    assert pool[0] / pool[9] == pytest.approx(10, rel=0.06)
    step = draw_split(digits, Regime(imbalance=StepImbalance(4), validation="none"), 0).info.labelled.class_counts
    assert len(set(step[:5])) == len(set(step[5:])) == 1
    assert step[0] / step[9] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("noise", [SymmetricNoise(0.4), PairNoise(0.25)])
def test_noise_has_its_rate_in_training_and_validation(digits: ImageDataset, noise: Any) -> None:
    clean = draw_split(digits, Regime(), 0).view
    drawn = draw_split(digits, Regime(noise=noise), 0)
    changed = 0
    for before, after in ((clean.labelled, drawn.view.labelled), (clean.validation, drawn.view.validation)):
        assert torch.equal(before.images, after.images)
        moved = before.labels != after.labels
        assert int(moved.sum()) == round(noise.rate * len(before.labels))
        steps = (after.labels - before.labels)[moved] % 10
        assert set(steps.tolist()) == ({1} if isinstance(noise, PairNoise) else set(range(1, 10)))
        changed += int(moved.sum())
    assert drawn.info.labels_changed == changed
    assert torch.equal(drawn.test.open("x").labels, draw_split(digits, Regime(), 0).test.open("x").labels)


def reachable(start: object) -> list[object]:
    """Everything that attributes, containers and closures lead to from ``start`` (not through modules or types)."""
    seen: dict[int, object] = {}
    todo = [start]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, types.FunctionType):
            todo += [cell.cell_contents for cell in thing.__closure__ or ()]
        else:
            todo += gc.get_referents(thing)
    return list(seen.values())


def test_the_view_references_no_hidden_label_or_test_pixel(digits: ImageDataset) -> None:
    drawn = draw_split(digits, Regime(labels_per_class=20), 0)
    view = drawn.view
    tensors = [thing for thing in reachable(view) if isinstance(thing, torch.Tensor)]
    allowed = [view.labelled, view.validation]
    own = (
        {id(part.images) for part in allowed}
        | {id(part.labels) for part in allowed}
        | {id(view.unlabelled), id(view.order)}
    )
    assert {id(tensor) for tensor in tensors} == own
    for tensor in tensors:
        # No view into something larger, and no memory that the source shares.
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        assert tensor.untyped_storage().data_ptr() not in {
            digits.images.untyped_storage().data_ptr(),
            digits.labels.untyped_storage().data_ptr(),
        }
        assert tensor._base is None
    assert not [thing for thing in reachable(view) if isinstance(thing, np.ndarray)]
    labels = [tensor for tensor in tensors if tensor.dtype == torch.int64 and tensor is not view.order]
    assert sorted(len(tensor) for tensor in labels) == [40, 160]
    test = {image.numpy().tobytes() for image in drawn.test.open("x").images}
    for images in (view.labelled.images, view.validation.images, view.unlabelled):
        assert not test & {image.numpy().tobytes() for image in images}


def test_the_order_of_unlabelled_images_is_independent_of_labels(digits: ImageDataset) -> None:
    order = torch.argsort(digits.labels, stable=True)
    source = from_tensors("by class", digits.images[order], digits.labels[order])
    view = draw_split(source, Regime(labels_per_class=5), 0).view
    index = {image.numpy().tobytes(): int(label) for image, label in zip(source.images, source.labels, strict=True)}
    hidden = np.array([index[image.numpy().tobytes()] for image in view.unlabelled])
    assert abs(np.corrcoef(np.arange(len(hidden)), hidden)[0, 1]) < 0.1


def test_images_without_labels_are_only_ever_unlabelled(digits: ImageDataset) -> None:
    labels = digits.labels.clone()
    labels[::2] = -1
    drawn = draw_split(from_tensors("half", digits.images, labels), Regime(), 0)
    assert drawn.info.unlabelled.size == int((labels < 0).sum())
    assert int(drawn.test.open("x").labels.min()) == 0
    assert int(drawn.view.labelled.labels.min()) == 0


def test_split_info_is_plain_json(digits: ImageDataset) -> None:
    facts = draw_split(digits, Regime(labels_per_class=20), 0).info
    data = json.loads(json.dumps(asdict(facts)))
    assert data["fingerprint"] == digits.fingerprint
    assert data["labelled"]["size"] == 160
    assert data["unlabelled"]["class_counts"] is None
    assert data["test"]["class_counts"] is None


def test_splits_are_the_same_at_every_image_size(digits: ImageDataset) -> None:
    from trigan.datasets.sources.digits import Digits

    regime = Regime(labels_per_class=10)
    small, large = (
        draw_split(digits, regime, 0).info,
        draw_split(Digits(image_size=16, channels=3).load(), regime, 0).info,
    )
    assert small == large


def test_a_class_that_only_tests_is_refused(with_test: ImageDataset) -> None:
    labels = with_test.labels.clone()
    assert with_test.official_test is not None
    labels[(labels == 9) & ~with_test.official_test] = -1
    for regime in (Regime(), Regime(fraction=0.5), Regime(labels_per_class=3)):
        with pytest.raises(DataError, match="class '9' has no labelled training image"):
            draw_split(replace(with_test, labels=labels), regime, 0)


def test_n_train_does_not_depend_on_the_regime(digits: ImageDataset) -> None:
    plain = draw_split(digits, Regime(), 0).info.n_train
    for regime in (Regime(unlabelled="none"), Regime(imbalance=ExponentialImbalance(100)), Regime(labels_per_class=2)):
        assert draw_split(digits, regime, 0).info.n_train == plain

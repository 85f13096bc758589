"""Groups of images: on one side of every split, balanced, refused where they leak."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedGroupKFold
from tensor_datasets import from_tensors

from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.groups import balanced_groups, counts_by_group, covering_groups, group_numbers
from trigan.datasets.splits.regime import ExponentialImbalance, Regime
from trigan.datasets.splits.split_file import SplitFile, split_digest, split_file_content, split_from_file
from trigan.datasets.splits.splitter import DataSplit, index_digest, split_summary
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

REGIMES = [
    Regime(),
    Regime(labels_per_class=5),
    Regime(labels_per_class=20, validation="within"),
    Regime(labels_per_class=5, validation="large"),
    Regime(fraction=0.2),
    Regime(fraction=0.1, validation="none", unlabelled="none"),
    Regime(imbalance=ExponentialImbalance(10)),
    Regime(validation="none"),
]


@pytest.fixture(scope="module")
def grouped(digits: ImageDataset) -> ImageDataset:
    """The digits in 150 groups of very different sizes and class shares, 60 images alone, 100 without a label."""
    rng = np.random.default_rng(5)
    labels = digits.labels.clone()
    affinity = rng.integers(10, size=150)
    weights = rng.lognormal(sigma=1.0, size=150)[:, None] * (1 + 4 * np.eye(10)[affinity])
    shares = weights / weights.sum(axis=0)
    groups = np.array([rng.choice(150, p=shares[:, k]) for k in labels.tolist()])
    groups[rng.permutation(len(groups))[:60]] = -1
    labels[rng.permutation(len(groups))[:100]] = -1
    return from_tensors("grouped", digits.images, labels, None, torch.from_numpy(groups))


def numbers(dataset: ImageDataset) -> np.ndarray:
    found = group_numbers(dataset)
    assert found is not None
    return found


def shared_groups(dataset: ImageDataset, split: DataSplit) -> list[tuple[str, str, int]]:
    """Every pair of parts that has images of one group."""
    groups, parts = numbers(dataset), list(split.parts.items())
    pairs = [(one, other) for i, one in enumerate(parts) for other in parts[:i]]
    found = [(a, b, len(np.intersect1d(groups[r], groups[s]))) for (a, r), (b, s) in pairs]
    return [one for one in found if one[2]]


@pytest.mark.parametrize("regime", REGIMES, ids=str)
def test_no_group_is_in_two_parts_and_no_image_is_lost_without_a_count(grouped: ImageDataset, regime: Regime) -> None:
    for trial in range(3):
        split = draw_split(grouped, regime, trial)
        assert shared_groups(grouped, split) == []
        rows = np.concatenate([rows for _, rows in split.parts.items()])
        assert len(np.unique(rows)) == len(rows)
        assert split.info.groups is not None
        if regime.unlabelled == "all" and regime.imbalance is None:
            dropped = split.info.groups["left_out"] + split.info.dropped_duplicates
            assert len(rows) + dropped == len(grouped.labels)
        assert (np.bincount(grouped.labels.numpy()[split.parts.labelled], minlength=10) > 0).all()


def test_a_drawn_test_set_is_as_balanced_as_that_of_scikit_learn(grouped: ImageDataset) -> None:
    """30 % of each class: the largest deviation is below that of StratifiedGroupKFold's best pair of folds of ten."""
    labels, groups = grouped.labels.numpy(), numbers(grouped)
    total = np.bincount(labels[labels >= 0], minlength=10)
    known = np.flatnonzero(labels >= 0)
    worst = []
    for trial in range(5):
        test = draw_split(grouped, Regime(), trial).parts.test
        worst.append(float(np.abs(np.bincount(labels[test], minlength=10) / total - 0.3).max()))
        folds = StratifiedGroupKFold(10, shuffle=True, random_state=trial)
        parts = [rows for _, rows in folds.split(known, labels[known], groups[known])]
        three = np.bincount(labels[known[np.concatenate(parts[:3])]], minlength=10)
        assert worst[-1] <= float(np.abs(three / total - 0.3).max())
    assert max(worst) < 0.03


def test_trials_draw_other_groups_also_large_ones(grouped: ImageDataset) -> None:
    groups = numbers(grouped)
    largest = int(np.bincount(groups).argmax())
    inside = [largest in groups[draw_split(grouped, Regime(), trial).parts.test] for trial in range(12)]
    assert 0 < sum(inside) < 12
    again = [draw_split(grouped, Regime(), 3).info for _ in range(2)]
    assert again[0] == again[1]


def test_a_budget_is_met_exactly_and_the_rest_of_its_groups_is_left_out(grouped: ImageDataset) -> None:
    split = draw_split(grouped, Regime(labels_per_class=20), 0)
    assert split.info.labelled.class_counts == [16] * 10
    assert split.info.validation.class_counts == [4] * 10
    assert split.info.groups is not None
    assert split.info.groups["left_out"] > 0
    words = split_summary(split.info)
    assert f"160 labelled (16 of each class) of {split.info.groups['labelled']} groups" in words
    assert words.endswith(f"{split.info.groups['left_out']} left out (their group is in another part)")


def test_too_few_groups_for_a_budget_are_told(grouped: ImageDataset) -> None:
    with pytest.raises(DataError, match=r"in groups that no other part has, but regime.labels_per_class=130"):
        draw_split(grouped, Regime(labels_per_class=130), 0)


def test_names_of_groups_do_not_count(grouped: ImageDataset) -> None:
    assert grouped.groups is not None
    renamed = replace(grouped, groups=torch.where(grouped.groups < 0, grouped.groups, 1000 - grouped.groups))
    splits = [draw_split(one, Regime(labels_per_class=5), 1) for one in (grouped, renamed)]
    assert asdict(splits[0].info) == asdict(splits[1].info)


def test_groups_are_part_of_the_fingerprint(grouped: ImageDataset) -> None:
    assert grouped.groups is not None
    without = from_tensors("plain", grouped.images, grouped.labels)
    other = from_tensors("other", grouped.images, grouped.labels, None, grouped.groups.flip(0))
    assert len({one.fingerprint for one in (grouped, without, other)}) == 3


def test_a_class_in_one_group_trains_and_is_not_tested(digits: ImageDataset) -> None:
    groups = torch.where(digits.labels == 7, 0, torch.arange(len(digits.labels)) // 3 + 1)
    split = draw_split(from_tensors("one", digits.images, digits.labels, None, groups), Regime(), 0)
    counts = np.bincount(digits.labels.numpy()[split.parts.test], minlength=10)
    assert counts[7] == 0
    assert (np.delete(counts, 7) > 0).all()


def test_a_single_group_cannot_be_divided(digits: ImageDataset) -> None:
    alike = from_tensors("one", digits.images, digits.labels, None, torch.zeros(len(digits.labels), dtype=torch.int64))
    with pytest.raises(DataError, match="no group can test without taking a class's last training group"):
        draw_split(alike, Regime(), 0)


def test_copies_in_two_groups_stay_in_one_part(digits: ImageDataset) -> None:
    images, labels = digits.images[:600].repeat(2, 1, 1, 1), digits.labels[:600].repeat(2)
    source = from_tensors("copies", images, labels, None, torch.arange(1200) // 4)
    split = draw_split(source, Regime(labels_per_class=20), 0)
    pictures = [{source.images[row].numpy().tobytes() for row in rows} for _, rows in split.parts.items()]
    assert not any(one & other for i, one in enumerate(pictures) for other in pictures[:i])
    assert split.info.dropped_duplicates > 0


def test_a_group_on_both_sides_of_an_official_test_set_is_refused_with_numbers(with_test: ImageDataset) -> None:
    assert with_test.official_test is not None
    count = len(with_test.labels)
    sound = torch.where(with_test.official_test, 1000 + torch.arange(count) // 5, torch.arange(count) // 5)
    split = draw_split(replace(with_test, groups=sound), Regime(labels_per_class=5), 0)
    assert shared_groups(replace(with_test, groups=sound), split) == []
    leaking = sound.clone()
    leaking[:7] = leaking[-1]
    with pytest.raises(DataError, match=r"1 of \d+ groups have images on both sides .* \(\d+ test images, 7 others"):
        draw_split(replace(with_test, groups=leaking), Regime(labels_per_class=5), 0)


@pytest.mark.parametrize("part", ["validation", "unlabelled", "test"])
def test_a_split_file_that_leaks_a_group_is_refused(grouped: ImageDataset, part: str) -> None:
    """An image of a labelled group is moved to another part, and all digests are made anew."""
    split = draw_split(grouped, Regime(labels_per_class=20), 0)
    groups = numbers(grouped)
    sound = split_file_content(grouped, split, {}, None)
    assert split_from_file(grouped, SplitFile.model_validate(sound), 0).info.test == split.info.test
    sizes = np.bincount(groups[split.parts.labelled], minlength=groups.max() + 1)
    moved = next(row for row in split.parts.labelled if sizes[groups[row]] > 1)
    parts = {name: rows for name, rows in split.parts.items()}
    parts["labelled"] = parts["labelled"][parts["labelled"] != moved]
    parts[part] = np.append(parts[part], moved)
    labels = grouped.labels.numpy()
    content: dict[str, Any] = dict(sound)
    for name, rows in parts.items():
        kept: dict[str, Any] = {"sha256": index_digest(rows), "indices": np.sort(rows).tolist()}
        content[name] = kept | ({"labels": labels[np.sort(rows)].tolist()} if "labels" in sound[name] else {})
    content["digest"] = split_digest(content)
    with pytest.raises(DataError, match=f"1 groups have images in both labelled and {part}"):
        split_from_file(grouped, SplitFile.model_validate(content), 0)


def test_without_groups_nothing_moves(digits: ImageDataset) -> None:
    assert digits.groups is None
    split = draw_split(digits, Regime(labels_per_class=10), 0)
    assert split.info.groups is None
    assert split.test_groups is None


def test_every_image_a_group_of_its_own_is_a_stratified_draw(digits: ImageDataset) -> None:
    alone = torch.full((len(digits.labels),), -1, dtype=torch.int64)
    split = draw_split(from_tensors("alone", digits.images, digits.labels, None, alone), Regime(), 0)
    counts = np.bincount(digits.labels.numpy()[split.parts.test]) / np.bincount(digits.labels.numpy())
    assert counts == pytest.approx([0.3] * 10, abs=0.01)


@pytest.mark.parametrize("choose", [balanced_groups, covering_groups])
def test_a_reserve_is_never_taken(choose: Callable[..., np.ndarray]) -> None:
    counts = counts_by_group(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 0, -1]), 2)
    assert counts.tolist() == [[1, 1], [2, 0], [0, 0]]
    wanted, one = np.array([3, 1]), np.array([1, 1])
    given = (counts, np.arange(3), wanted, *((np.zeros(2, int),) if choose is balanced_groups else ()), one)
    assert choose(*given).tolist() == [False, True, False]

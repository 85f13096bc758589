"""Classes that are no part of the task: where their images go, and how the others are numbered."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError, SealedError

HELD_OUT = ("3", "7")
KNOWN = [0, 1, 2, 4, 5, 6, 8, 9]


@cache
def digits() -> ImageDataset:
    return Digits().load()


def split(**changes: Any) -> DataSplit:
    return draw_split(digits(), Regime(**{"labels_per_class": 20, "held_out_classes": HELD_OUT, **changes}), 1)


def _classes(rows: np.ndarray) -> set[int]:
    return set(digits().labels.numpy()[rows].tolist())


def test_their_images_are_in_no_part_of_the_task() -> None:
    drawn = split()
    for _, rows in drawn.parts.items():
        assert _classes(rows) == set(KNOWN)
    assert drawn.held_out is not None
    assert _classes(drawn.held_out.rows) == {3, 7}
    assert drawn.view.spec.classes == 8
    assert drawn.class_names == tuple(map(str, KNOWN))


def test_the_others_are_numbered_anew() -> None:
    drawn = split()
    for name, images in (("labelled", drawn.view.labelled), ("validation", drawn.view.validation)):
        assert images is not None
        rows = getattr(drawn.parts, name)
        assert torch.equal(images.images, digits().images[torch.from_numpy(rows)])
        assert [KNOWN[label] for label in images.labels.tolist()] == digits().labels.numpy()[rows].tolist()
    test = drawn.test.open("digest")
    assert [KNOWN[label] for label in test.labels.tolist()] == digits().labels.numpy()[drawn.parts.test].tolist()
    source = digits().labels.numpy()
    assert drawn.task_labels(np.array([0, 3, 9, -1])).tolist() == [0, -1, 7, -1]
    assert set(drawn.task_labels(source[drawn.parts.test]).tolist()) == set(range(8))


def test_the_test_set_is_that_of_all_classes_divided() -> None:
    whole, drawn = split(held_out_classes=()), split()
    assert drawn.held_out is not None
    both = np.concatenate([drawn.parts.test, drawn.held_out.rows])
    assert np.array_equal(np.sort(both), np.sort(whole.parts.test))
    assert whole.held_out is None
    assert "held_out" not in whole.info.as_record()


def test_they_stay_among_unlabelled_images_by_a_setting() -> None:
    drawn = split(held_out_in_pool=True)
    assert _classes(drawn.parts.unlabelled) == set(range(10))
    assert _classes(drawn.parts.labelled) == _classes(drawn.parts.validation) == set(KNOWN)
    assert "novel-in-pool" in drawn.info.stamps
    assert "novel-in-pool" not in split().info.stamps
    assert np.array_equal(drawn.parts.test, split().parts.test)


def test_the_record_has_their_numbers() -> None:
    drawn = split(held_out_in_pool=True)
    about = drawn.info.as_record()["held_out"]
    assert drawn.held_out is not None
    assert (about["classes"], about["in_pool"]) == (HELD_OUT, True)
    assert about["images"]["size"] == len(drawn.held_out.rows) > 0


def test_their_test_images_are_sealed() -> None:
    drawn = split()
    assert drawn.held_out is not None
    with pytest.raises(SealedError):
        _ = drawn.held_out.sealed.images  # type: ignore[attr-defined]
    opened = drawn.held_out.sealed.open("digest")
    assert set(opened.labels.tolist()) == {3, 7}
    with pytest.raises(SealedError):
        drawn.held_out.sealed.open("digest")


@pytest.mark.parametrize(
    ("changes", "error", "line"),
    [
        ({"held_out_classes": ("x",)}, DataError, r"^regime.held_out_classes: x is no class of .*: 0, 1, 2"),
        ({"held_out_classes": tuple("012345678")}, DataError, r"two classes that are not held out; name fewer"),
        ({"held_out_classes": ("3", "3")}, ConfigError, r"^held_out_classes: \['3', '3'\] must be names of different"),
        ({"held_out_classes": (), "held_out_in_pool": True}, ConfigError, r"^held_out_in_pool: there are no held_out"),
    ],
)
def test_what_cannot_be_held_out_is_refused(changes: dict[str, Any], error: type[Exception], line: str) -> None:
    with pytest.raises(error, match=line):
        split(**changes)


def test_numbers_are_names_too() -> None:
    assert Regime(held_out_classes=(3, 7)).held_out_names == HELD_OUT

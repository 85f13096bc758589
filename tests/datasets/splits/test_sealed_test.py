import copy
import gc
import pickle

import pytest
import torch

from trigan.datasets.splits.sealed_test import SealedTest
from trigan.datasets.types import LabelledImages
from trigan.errors import SealedError


@pytest.fixture
def test_set() -> SealedTest:
    return SealedTest(LabelledImages(torch.zeros(7, 1, 8, 8, dtype=torch.uint8), torch.arange(7)))


def test_opens_once_and_records_the_digest(test_set: SealedTest) -> None:
    assert len(test_set) == 7
    assert "sealed" in repr(test_set)
    assert test_set.open("abc").labels.tolist() == list(range(7))
    assert test_set.opened_for == "abc"
    with pytest.raises(SealedError, match="already"):
        test_set.open("abc")
    with pytest.raises(SealedError, match="already"):
        test_set.open("def")


@pytest.mark.parametrize("nothing", ["", "  ", None, 0])
def test_needs_a_digest(test_set: SealedTest, nothing: object) -> None:
    with pytest.raises(SealedError, match="digest"):
        test_set.open(nothing)  # type: ignore[arg-type]
    assert test_set.opened_for is None


@pytest.mark.parametrize(
    "attempt",
    [
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        vars,
        dir,
        lambda s: s.labels,
        lambda s: s.images,
        lambda s: s.__dict__,
        lambda s: s.__slots__,
        lambda s: s._SealedTest__release,
        lambda s: s.open.__self__.images,
        lambda s: getattr(s, "test", None),
        lambda s: setattr(s, "open", lambda digest: None),
        lambda s: delattr(s, "_SealedTest__release"),
    ],
)
def test_every_other_access_is_refused(test_set: SealedTest, attempt: object) -> None:
    with pytest.raises(SealedError):
        attempt(test_set)  # type: ignore[operator]
    assert test_set.opened_for is None


def test_torch_cannot_save_it(test_set: SealedTest, tmp_path: object) -> None:
    with pytest.raises(SealedError):
        torch.save({"test": test_set}, f"{tmp_path}/x.pt")


def test_nothing_is_kept_after_opening() -> None:
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    sealed = SealedTest(LabelledImages(images, torch.arange(3)))
    opened = sealed.open("abc")
    held = [o for o in gc.get_referrers(opened) if isinstance(o, list)]
    assert not held

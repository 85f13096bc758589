import pytest

from trigan.datasets.sources.image_source import encode_labels
from trigan.errors import DataError


def test_texts_are_sorted_and_numbers_close_their_gaps() -> None:
    coded, names = encode_labels(["dog", "cat", None, "dog"], None, "x")
    assert coded.tolist() == [1, 0, -1, 1]
    assert names == ("cat", "dog")
    coded, names = encode_labels([10, 2, -1, 7], None, "x")
    assert coded.tolist() == [2, 0, -1, 1]
    assert names == ("2", "7", "10")


def test_names_of_numbers_and_names_without_images() -> None:
    coded, names = encode_labels([2, 0, 2], ["a", "b", "c"], "x")
    assert coded.tolist() == [1, 0, 1]
    assert names == ("a", "c")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 3], ["a", "b", "c"], r"label 3 is out of range \(0..2"),
        ([0, 1, -2], None, "label -2 is out of range"),
        ([0, "a"], None, "some are numbers"),
    ],
)
def test_bad_labels(labels: list, names: list | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_labels(labels, names, "x")

"""Values against annotations."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest

from trigan.config.schema import _matches, expected
from trigan.config.settings import AtLeast


class Speaks(Protocol):
    def speak(self) -> str: ...


NODE = {"_target_": "trigan.rng.Draws"}


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [1, -1], [1.0, True, "1", None]),
        (float, [1, 1.5], [True, "1", None]),
        (bool, [True], [1, "true"]),
        (str, ["a"], [1, None]),
        (Path, ["a"], [1]),
        (int | None, [1, None], ["a"]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (Annotated[int, AtLeast(1)], [1], [0, "a"]),
        (tuple[int, ...], [[], [1, 2]], [["a"], 1, {"a": 1}]),
        (tuple[float, float], [[1, 2.0]], [[1], [1, 2, 3], [1, "a"]]),
        (list[str], [["a"]], [[1], "a"]),
        (Sequence[int], [[1]], [[None]]),
        (dict[str, int], [{"a": 1}], [{"a": "b"}, [1]]),
        (Mapping[str, Any], [{"a": 1}], [1]),
        (Callable[[int], int], [NODE], [1, "a"]),
        (Speaks, [NODE], [1, {"a": 1}]),
        (Speaks | None, [NODE, None], [1]),
        (tuple[Speaks, ...], [[NODE], []], [[1]]),
        (Any, [1, None, "a", {}], []),
    ],
    ids=str,
)
def test_matches(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not _matches(value, hint)] == []
    assert [value for value in bad if _matches(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "an int or null"),
        (Annotated[int, AtLeast(2)], "an int >= 2"),
        (Literal["a", "b"] | None, "one of a, b or null"),
        (tuple[float, float], "a list of 2 values (a number, a number)"),
        (list[bool], "a list, each true or false"),
        (Speaks, "a node whose _target_ builds a Speaks"),
        (dict[str, int], "a mapping"),
    ],
    ids=str,
)
def test_words(hint: Any, words: str) -> None:
    assert expected(hint) == words

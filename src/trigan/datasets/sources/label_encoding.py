"""Encodes a source's labels as 0..K-1, with class names."""

from collections.abc import Sequence

import numpy as np

from trigan.errors import DataError

Label = int | str | None


def encode_labels(
    labels: Sequence[Label], names: Sequence[str] | None, location: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels int64 (N,) in 0..K-1 or -1, and the K class names.

    The classes are the labels that occur: text in sorted order, numbers in numeric order (with ``names``, number i is
    ``names[i]``). So gaps close up, and a name without any image is no class. None and -1 mean "no label".

    Raises:
        DataError: numbers outside ``names``, other negative numbers, text mixed with numbers, or a single class.
    """
    values = {label for label in labels if label is not None and label != -1}
    numbers = sorted(value for value in values if not isinstance(value, str))
    if 0 < len(numbers) < len(values):
        raise DataError(f"{location}: some labels are text and some are numbers; use one kind")
    highest = float("inf") if names is None else len(names) - 1
    for value in numbers:
        if not 0 <= value <= highest:
            allowed = "0 or more" if names is None else f"0..{highest}"
            raise DataError(
                f"{location}: label {value} is out of range ({allowed}, or -1 for none); correct the label column"
            )
    classes = sorted(values)
    class_names = tuple(str(value) if names is None or isinstance(value, str) else names[value] for value in classes)
    if len(classes) < 2:
        found = f"only one class ('{class_names[0]}')" if classes else "no labels"
        raise DataError(f"{location}: {found}; a classifier needs two classes or more")
    numbered: dict[Label, int] = {value: k for k, value in enumerate(classes)}
    return np.array([numbered.get(label, -1) for label in labels], dtype=np.int64), class_names

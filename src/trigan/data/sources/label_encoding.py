"""From the labels that a source has to 0..K-1 and names."""

from collections.abc import Sequence

import numpy as np

from trigan.errors import DataError

Label = int | str | None


def encode_labels(
    labels: Sequence[Label], names: Sequence[str] | None, where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels int64 (N,) in 0..K-1 or -1, and the K class names.

    The classes are the labels that occur: texts in sorted order, numbers in numeric order (with ``names``, number i is
    ``names[i]``). So gaps close up, and a name without any image is no class. None and -1 mean "no label".

    Raises:
        DataError: for numbers outside ``names``, other negative numbers, texts mixed with numbers, or a single class.
    """
    known = [label for label in labels if label is not None and label != -1]
    if any(isinstance(label, str) for label in known) and any(not isinstance(label, str) for label in known):
        raise DataError(f"{where}: some labels are texts and some are numbers; use one kind")
    values = sorted(set(known))
    numbers = [value for value in values if not isinstance(value, str)]
    top = len(names) - 1 if names is not None else None
    for value in numbers:
        if value < 0 or (top is not None and value > top):
            allowed = f"0..{top}" if top is not None else "0 or more"
            raise DataError(
                f"{where}: label {value} is out of range ({allowed}, or -1 for none); mend the label column"
            )
    if len(values) < 2:
        found = f"only one class ('{_name(values[0], names)}')" if values else "no labels"
        raise DataError(f"{where}: {found}; a classifier needs two classes or more")
    position = {value: k for k, value in enumerate(values)}
    coded = [-1 if label is None or label == -1 else position[label] for label in labels]
    return np.array(coded, dtype=np.int64), tuple(_name(value, names) for value in values)


def _name(value: int | str, names: Sequence[str] | None) -> str:
    return str(value) if names is None or isinstance(value, str) else names[value]

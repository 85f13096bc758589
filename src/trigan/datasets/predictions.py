"""Reads predictions that another program wrote for the test images of a split (formats: docs/submit.md)."""

from pathlib import Path

import numpy as np
import pandas as pd

from trigan.datasets.sources.npz import npz_arrays
from trigan.errors import DataError

#: How far the probabilities of an image may be from 1 in sum, to allow for rounding and half precision.
SUM_TOLERANCE = 1e-3
#: Smaller probabilities are raised to this, so that a certain mistake has a finite likelihood (as scikit-learn clips).
MIN_PROBABILITY = 2.0**-52


def read_predictions(path: Path, test: np.ndarray, classes: int) -> tuple[np.ndarray, bool]:
    """The predictions of a file (``.npz``, else CSV), in the order of ``test`` (N,), the test images' source indices.

    Returns:
        Scores float64 (N, K), and whether they are log-probabilities; else they are one-hot classes.

    Raises:
        DataError: the file is unreadable, lacks test images, has others, or its predictions are malformed.
    """
    indices, values, probabilistic = _read_npz(path) if path.suffix.lower() == ".npz" else _read_csv(path)
    _check_images(path, indices, test)
    if values.shape[:1] != indices.shape:
        raise DataError(f"{path}: {len(indices)} indices, but predictions {values.shape}; give one for each index")
    values = values[np.argsort(indices)][np.argsort(np.argsort(test))]
    if probabilistic:
        return _log_probabilities(path, values, test, classes), True
    if values.ndim != 1 or values.dtype.kind not in "iu":
        text = values.ndim == 1 and values.dtype.kind in "OUS"
        found = repr(str(values[0])) if text else f"{values.dtype} {values.shape}"
        raise DataError(
            f"{path}: classes must be whole numbers (N,), 0 to {classes - 1} in the order of the split file's class "
            f"names, not {found}"
        )
    if int(values.min()) < 0 or int(values.max()) >= classes:
        raise DataError(f"{path}: classes lie in {values.min()}..{values.max()}, should be 0..{classes - 1}")
    return np.eye(classes)[values], False


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    arrays = dict(npz_arrays(path))
    kinds = arrays.keys() & {"classes", "probabilities"}
    if "indices" not in arrays or len(kinds) != 1:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path} holds {found}; expected indices, and either classes or probabilities")
    return arrays["indices"], arrays[kinds.pop()], "probabilities" in arrays


def _read_csv(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    try:
        frame = pd.read_csv(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # includes pandas' parser errors and wrong encodings
        raise DataError(f"{path} is not a readable CSV file ({' '.join(str(error).split())})") from error
    columns = list(frame.columns)
    if columns == ["index", "class"]:
        return frame["index"].to_numpy(), frame["class"].to_numpy(), False
    if len(columns) > 2 and columns == ["index", *(f"p{k}" for k in range(len(columns) - 1))]:
        return frame["index"].to_numpy(), frame.iloc[:, 1:].to_numpy(), True
    found = ",".join(map(str, columns[:4])) + (",..." if len(columns) > 4 else "")
    raise DataError(f"{path} begins with {found}; the first line should be index,class or index,p0,p1,...")


def _check_images(path: Path, indices: np.ndarray, test: np.ndarray) -> None:
    """Require every test image exactly once, and no other image."""
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise DataError(f"{path}: indices must be whole numbers (N,), not {indices.dtype} {indices.shape}")
    found, counts = np.unique(indices, return_counts=True)
    foreign, missing = np.setdiff1d(found, test), np.setdiff1d(test, found)
    if len(foreign):
        raise DataError(f"{path}: image {foreign[0]} is no test image of this split; give the test images alone")
    if len(missing):
        raise DataError(f"{path}: {len(missing)} of {len(test)} test images are missing, {missing[0]} first; give all")
    if counts.max() > 1:
        raise DataError(f"{path}: image {found[counts.argmax()]} occurs {counts.max()} times; give each once")


def _log_probabilities(path: Path, values: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    if values.shape != (len(test), classes) or values.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: probabilities must be numbers ({len(test)}, {classes}), not {values.dtype} {values.shape}"
        )
    probabilities = values.astype(np.float64)
    sums = probabilities.sum(axis=1)
    bad = ~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1) | ~(np.abs(sums - 1) <= SUM_TOLERANCE)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{path}: the probabilities of {int(bad.sum())} images are not finite, 0 or more and 1 in sum; "
            f"image {test[row]} has the sum {sums[row]:.6g}"
        )
    scores: np.ndarray = np.log(np.maximum(probabilities / sums[:, None], MIN_PROBABILITY))
    return scores

"""DICOM images, by pydicom (the extra ``dicom``)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trigan.datasets.sources.geometry import to_8_bits
from trigan.errors import DataError


def is_dicom(data: bytes | Path) -> bool:
    """Whether the content is a DICOM file: "DICM" after 128 bytes."""
    if isinstance(data, bytes):
        return data[128:132] == b"DICM"
    if data.suffix.lower() not in (".dcm", ".dicom"):
        return False
    with data.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def decode_dicom(data: bytes | Path, window: Sequence[float] | None) -> np.ndarray:
    """Pixels uint8 (H, W, 1 or 3), white as white.

    Grey values are rescaled (CT: Hounsfield units); ``window``, else the file's own window, else the range of the
    stored bits becomes 0..255.

    Raises:
        DataError: pydicom is not installed, or several frames.
    """
    try:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_windowing
    except ImportError as error:
        raise DataError("DICOM images need pydicom: pip install 'trigan[dicom]'") from error
    dataset = pydicom.dcmread(io.BytesIO(data) if isinstance(data, bytes) else data)
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        raise DataError(f"a DICOM file of {dataset.NumberOfFrames} frames; save each frame to be read as a file")
    stored: np.ndarray = dataset.pixel_array
    photometric = dataset.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        return to_8_bits(stored, 0, 255 if stored.dtype == np.uint8 else 65535)
    values = apply_rescale(stored, dataset)
    low, high = window or _stored_range(dataset)
    if window is None and "WindowWidth" in dataset:
        values = apply_windowing(values, dataset)
    grey = to_8_bits(values, low, high)
    return np.atleast_3d(255 - grey if photometric == "MONOCHROME1" else grey)


def _stored_range(dataset: Any) -> tuple[float, float]:
    """Lowest and highest value of the stored bits, rescaled."""
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return low * slope + intercept, high * slope + intercept

"""Data sets from tensors in memory, and image files from arrays."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from trigan.datasets.types import ImageDataset, fingerprint_of, image_digest, stack_digests


def from_tensors(
    name: str, images: Tensor, labels: Tensor, official_test: Tensor | None = None, groups: Tensor | None = None
) -> ImageDataset:
    """A data set whose classes are named by their numbers."""
    digests = stack_digests(image_digest(image) for image in images.movedim(1, 3).numpy())
    names = tuple(str(k) for k in range(int(labels.max()) + 1 if len(labels) else 0))
    fingerprint = fingerprint_of(digests, labels, official_test, groups)
    return ImageDataset(name, images, labels, names, fingerprint, digests, official_test, groups)


def save(root: Path, name: str, array: np.ndarray, mode: str | None = None) -> Path:
    """Write one image file below ``root``."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path

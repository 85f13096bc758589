"""The values that travel between rooms: shapes, images with labels, and what a strategy may look at."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trigan.components import component
from trigan.data.sources.fingerprint import digests_of, fingerprint_of
from trigan.errors import DataError

#: Sides of the square images that the networks are built for.
MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 8, 128


@component("data/spec@1")
@dataclass(frozen=True)
class DataSpec:
    """The one source of shapes: images are (channels, size, size), labels 0..classes-1."""

    channels: int
    size: int
    classes: int


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images uint8 (N, C, S, S) and their labels int64 (N,) in 0..K-1."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set as it was read: nothing is split, hidden or drawn yet.

    Attributes:
        name: for people.
        images: uint8 (N, C, S, S), in source order (training images, then unlabelled ones, then the official test set).
        labels: int64 (N,), 0..K-1, or -1 for an image without a label.
        class_names: K names, in label order.
        fingerprint: SHA-256 of decoded pixels and labels, see :mod:`trigan.data.sources.fingerprint`.
        digests: uint8 (N, 32), the SHA-256 of each image's decoded pixels before resizing.
        official_test: bool (N,), true where the source's own test set is; None if it has none.

    Raises:
        DataError: for shapes, labels or classes that no run could use.
    """

    name: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    fingerprint: str
    digests: Tensor
    official_test: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DataError(f"{self.name}: images must be uint8 (N, 1 or 3, S, S), not {_what(self.images)}")
        height, width = self.images.shape[2:]
        if height != width or not MIN_IMAGE_SIZE <= height <= MAX_IMAGE_SIZE:
            raise DataError(
                f"{self.name}: images are {width}x{height}, but squares of "
                f"{MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels are needed; "
                f"set data.image_size=32 (or another size in that range)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{self.name}: labels must be int64 ({len(self.images)},), not {_what(self.labels)}")
        if len(self.class_names) < 2:
            raise DataError(
                f"{self.name}: only one class ({', '.join(self.class_names)}); a classifier needs two or more"
            )
        if not bool(((self.labels >= -1) & (self.labels < len(self.class_names))).all()):
            raise DataError(f"{self.name}: labels must lie in 0..{len(self.class_names) - 1}, or be -1 for none")
        if self.official_test is not None and bool((self.labels[self.official_test] < 0).any()):
            raise DataError(f"{self.name}: an image of the test set has no label; every test image needs one")

    @property
    def spec(self) -> DataSpec:
        return DataSpec(self.images.shape[1], self.images.shape[2], len(self.class_names))

    @classmethod
    def from_tensors(
        cls, name: str, images: Tensor, labels: Tensor, official_test: Tensor | None = None
    ) -> "ImageDataset":
        """A source from tensors in memory; classes are named by their numbers."""
        digests = digests_of(images)
        classes = int(labels.max()) + 1 if len(labels) else 0
        names = tuple(str(k) for k in range(classes))
        mark = fingerprint_of(digests, labels, official_test)
        return cls(name, images, labels, names, mark, digests, official_test)


@dataclass(frozen=True, eq=False)
class TrainingView:
    """All that a strategy may look at. Every tensor is a copy: no hidden label, no test pixel is behind it.

    Attributes:
        spec: shapes.
        labelled: the labelled images that train (labels as the regime left them: noise included).
        validation: labelled images for selection, or None.
        unlabelled: uint8 (U, C, S, S), maybe with no rows; in an order that says nothing about labels.
        order: int64 (L + U,), rows of labelled and unlabelled images one after the other, in the trial's hash order.
        external: uint8 (X, C, S, S), training images of another data set, or None.
    """

    spec: DataSpec
    labelled: LabelledImages
    validation: LabelledImages | None
    unlabelled: Tensor
    order: Tensor
    external: Tensor | None = None

    @property
    def training_images(self) -> Tensor:
        """All images that train, labelled or not, uint8 (L + U, C, S, S).

        Their order does not depend on which of them are labelled, so what is trained on them without labels (a GAN)
        serves every label budget.
        """
        return torch.cat([self.labelled.images, self.unlabelled])[self.order]


def _what(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

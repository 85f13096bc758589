"""Types shared by all rooms: shapes, images with labels, a loaded data set, and what a strategy may use."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from trigan.component_ids import component
from trigan.errors import DataError, SealedError

#: Side of the square images that the networks are built for.
MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 8, 512


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
    """A loaded data set, before any split.

    Attributes:
        name: display name.
        images: uint8 (N, C, S, S), in source order (training images, own validation images, unlabelled ones, then the
            official test set).
        labels: int64 (N,), 0..K-1, or -1 for an image without a label.
        class_names: K names, in label order.
        fingerprint: of all images, labels and test marks, see `fingerprint_of`.
        digests: uint8 (N, 32), the `image_digest` of each image.
        official_test: bool (N,), true for the source's own test set; None if it has none.
        groups: int64 (N,), images with equal numbers belong together (a patient); -1: alone; None: no groups known.
        notes: lines for the user on how the images were read.
        names_are_own: whether the class names belong to the data's ``identity``.
        official_validation: bool (N,), true for the source's own validation images; None if it has none.

    Raises:
        DataError: shapes, labels or classes that no run could use.
    """

    name: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    fingerprint: str
    digests: Tensor
    official_test: Tensor | None = None
    groups: Tensor | None = None
    notes: tuple[str, ...] = ()
    names_are_own: bool = False
    official_validation: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DataError(f"{self.name}: images must be uint8 (N, 1 or 3, S, S), not {_describe(self.images)}")
        height, width = self.images.shape[2:]
        if height != width or not MIN_IMAGE_SIZE <= height <= MAX_IMAGE_SIZE:
            raise DataError(
                f"{self.name}: images are {width}x{height}, but squares of {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels "
                "are needed; set data.image_size=32 (or another size in that range)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{self.name}: labels must be int64 ({len(self.images)},), not {_describe(self.labels)}")
        classes = len(self.class_names)
        if classes < 2:
            found = f"only one class ('{self.class_names[0]}')" if classes else "no labels"
            raise DataError(f"{self.name}: {found}; a classifier needs two classes or more")
        if not bool(((self.labels >= -1) & (self.labels < classes)).all()):
            raise DataError(f"{self.name}: labels must lie in 0..{classes - 1}, or be -1 for none")
        if self.official_test is not None and bool((self.labels[self.official_test] < 0).any()):
            raise DataError(f"{self.name}: an image of the test set has no label; every test image needs one")

    @property
    def identity(self) -> str:
        """The fingerprint; where class names are the user's own, a digest of it and of the names.

        So a run on renamed classes is another run, whose networks are those of the first one.
        """
        return identity_of(self.fingerprint, self.class_names, self.names_are_own)

    @property
    def spec(self) -> DataSpec:
        """Shapes of images and labels."""
        return DataSpec(self.images.shape[1], self.images.shape[2], len(self.class_names))


@dataclass(frozen=True)
class PartSizes:
    """Numbers of images in the parts of a view, which may be read without taking the images."""

    labelled: int
    validation: int
    unlabelled: int
    external: int


class TrainingView:
    """All that a strategy may use. Every tensor is a copy, without access to hidden labels or test pixels.

    A part counts as used, with all of its images, once it is read: the record has these counts (`taken`). ``spec`` and
    ``sizes`` may be read without using anything.
    """

    __slots__ = ("_take", "sizes", "spec")
    _take: Callable[..., Any]
    sizes: PartSizes
    spec: DataSpec

    def __init__(
        self,
        spec: DataSpec,
        labelled: LabelledImages,
        validation: LabelledImages | None,
        unlabelled: Tensor,
        order: Tensor,
        external: Tensor | None = None,
    ) -> None:
        sizes = [0 if part is None else len(part) for part in (labelled, validation, unlabelled, external)]
        parts = {"L": labelled, "V": validation, "U": unlabelled, "X": external, "order": order}
        counts, taken = dict(zip("LVUX", sizes, strict=True)), dict.fromkeys("LUVX", 0)
        closed: list[bool] = []

        def take(kind: str | None, close: bool = False) -> Any:
            """A part, which then counts as used; for None the counts."""
            if kind is None:
                closed.extend([True] * close)
                return dict(taken)
            if closed:
                raise SealedError("the training images were read after the strategy had ended; read them in its run()")
            if kind in taken:
                taken[kind] = counts[kind]
            return parts[kind]

        for name, value in (("spec", spec), ("sizes", PartSizes(*sizes)), ("_take", take)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise SealedError(f"cannot set {name!r}: a view counts what is read from it, and cannot be changed")

    @property
    def labelled(self) -> LabelledImages:
        """The labelled training images, with the regime's label noise."""
        part: LabelledImages = self._take("L")
        return part

    @property
    def validation(self) -> LabelledImages | None:
        """Labelled images for selection, or None."""
        part: LabelledImages | None = self._take("V")
        return part

    @property
    def unlabelled(self) -> Tensor:
        """uint8 (U, C, S, S), possibly empty; the order carries no information about labels."""
        part: Tensor = self._take("U")
        return part

    @property
    def order(self) -> Tensor:
        """int64 (L + U,), rows of the concatenated labelled and unlabelled images in the trial's hash order."""
        part: Tensor = self._take("order")
        return part

    @property
    def external(self) -> Tensor | None:
        """uint8 (X, C, S, S), training images of another data set, or None."""
        part: Tensor | None = self._take("X")
        return part

    @property
    def training_images(self) -> Tensor:
        """All training images, labelled or not, uint8 (L + U, C, S, S).

        Their order does not depend on which of them are labelled, so a network trained on them without labels (a GAN)
        serves every label budget.
        """
        return torch.cat([self.labelled.images, self.unlabelled])[self.order]

    @property
    def taken(self) -> dict[str, int]:
        """Numbers of images by kind, L, U, V and X, in the parts that were read so far."""
        counts: dict[str, int] = self._take(None)
        return counts

    def close(self) -> dict[str, int]:
        """End the use of the images: the final counts. Every later reading of a part is a `SealedError`."""
        counts: dict[str, int] = self._take(None, close=True)
        return counts


def image_digest(pixels: np.ndarray) -> bytes:
    """SHA-256 of decoded pixels uint8 (H, W, 1 or 3), before resizing and channel conversion: 32 bytes.

    It covers height, width and the pixels as RGB bytes (a grey pixel counts as three equal ones), so a picture has one
    digest whether it came as PNG, Parquet or an array, grey or not.
    """
    height, width, channels = pixels.shape
    sha = hashlib.sha256(f"{height}x{width};".encode())
    sha.update(np.ascontiguousarray(pixels if channels == 3 else np.repeat(pixels, 3, axis=2)).data)
    return sha.digest()


def stack_digests(digests: Iterable[bytes]) -> Tensor:
    """Digests as a tensor uint8 (N, 32)."""
    return torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, 32)


def identity_of(fingerprint: str, class_names: Sequence[str], names_are_own: bool) -> str:
    """See `ImageDataset.identity`."""
    if not names_are_own:
        return fingerprint
    return hashlib.sha256("\n".join([fingerprint, *class_names]).encode()).hexdigest()


def fingerprint_of(
    digests: Tensor,
    labels: Tensor,
    official_test: Tensor | None,
    groups: Tensor | None = None,
    official_validation: Tensor | None = None,
) -> str:
    """64 hexadecimal characters for digests (N, 32), labels, marks of both parts and groups (N,), in source order.

    So the hub's copy of a data set and a local copy agree. Marks and groups may be None.
    """
    sha = hashlib.sha256(digests.numpy().tobytes())
    sha.update(labels.numpy().astype("<i8").tobytes())
    sha.update(b"no test set" if official_test is None else official_test.numpy().astype(np.uint8).tobytes())
    if groups is not None:
        sha.update(b"groups" + groups.numpy().astype("<i8").tobytes())
    if official_validation is not None:
        sha.update(b"validation" + official_validation.numpy().astype(np.uint8).tobytes())
    return sha.hexdigest()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

"""From a source's items, one after the other, to one checked data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from trigan.data.sources.decode import Geometry, decode, require_min_size
from trigan.data.sources.fingerprint import fingerprint_of, image_digest, stack_digests
from trigan.data.sources.label_encoding import Label, encode_labels
from trigan.data.types import ImageDataset
from trigan.errors import DataError

Part = Literal["train", "unlabelled", "test"]


@dataclass(frozen=True, eq=False)
class Item:
    """One image, not decoded yet: bytes, a file, or pixels uint8 (H, W[, C]); ``location`` names it in errors."""

    location: str
    data: bytes | Path | np.ndarray
    label: Label
    part: Part


@dataclass(eq=False)
class ItemDecoder:
    """What was met on the way through the items; with ``tolerant`` unusable images are noted instead of raised."""

    tolerant: bool = False
    unreadable: list[str] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    locations: list[str] = field(default_factory=list)

    def decode(self, item: Item) -> np.ndarray | None:
        """The pixels of ``item``, or None if it is unusable and the decoder is tolerant."""
        try:
            pixels = decode(item.data, item.location)
            require_min_size(pixels, item.location)
        except DataError as error:
            if not self.tolerant:
                raise
            self.unreadable.append(str(error))
            return None
        self.sizes[(pixels.shape[1], pixels.shape[0])] += 1
        self.locations.append(item.location)
        return pixels


def assemble(
    name: str, items: Iterable[Item], class_names: Sequence[str] | None, geometry: Geometry, decoder: ItemDecoder
) -> ImageDataset:
    """Decode, fingerprint, fit and number the items.

    Args:
        class_names: names of integer labels, if the source has them.

    Raises:
        DataError: for unreadable images, mixed sizes, no images, too few classes; see also :class:`ImageDataset`.
    """
    images: list[np.ndarray] = []
    digests: list[bytes] = []
    labels: list[Label] = []
    parts: list[Part] = []
    for item in items:
        pixels = decoder.decode(item)
        if pixels is None:
            continue
        digests.append(image_digest(pixels))
        images.append(geometry.fit(pixels))
        labels.append(item.label)
        parts.append(item.part)
    if not images:
        raise DataError(f"{name}: no {'readable ' if decoder.unreadable else ''}images found; check data.root")
    numbers, names = encode_labels(labels, class_names, name)
    rows, targets = stack_digests(digests), torch.from_numpy(numbers)
    tests = torch.tensor([part == "test" for part in parts]) if "test" in parts else None
    mark = fingerprint_of(rows, targets, tests)
    return ImageDataset(name, torch.from_numpy(_stack(images, decoder, name)), targets, names, mark, rows, tests)


def _stack(images: list[np.ndarray], decoder: ItemDecoder, name: str) -> np.ndarray:
    """Fitted pixels (S, S, c) as uint8 (N, C, S, S); grey among coloured images becomes three equal channels."""
    sides = Counter(image.shape[0] for image in images)
    if len(sides) > 1:
        common = ", ".join(f"{width}x{height}" for (width, height), _ in decoder.sizes.most_common(3))
        raise DataError(
            f"{name}: images have {len(decoder.sizes)} sizes ({common}, ...); set data.image_size=32 (8..128)"
        )
    channels = max(image.shape[2] for image in images)
    side = images[0].shape[0]
    out = np.empty((len(images), channels, side, side), dtype=np.uint8)
    for row, image in zip(out, images, strict=True):
        row[:] = image.transpose(2, 0, 1)
    return out

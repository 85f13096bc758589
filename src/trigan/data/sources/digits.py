"""scikit-learn's digits: 1,797 real 8x8 images that come with the package."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from trigan.components import component
from trigan.data.sources.assemble import Item, ItemDecoder
from trigan.data.sources.image_source import ImageSource
from trigan.data.types import ImageDataset


@component("data/digits@1")
@dataclass(frozen=True)
class Digits(ImageSource):
    """Handwritten digits (Alpaydin & Kaynak 1998), grey values 0..16 -> round(v * 255 / 16); no official test set.

    Attributes:
        image_size: side to resize to, 8 to 128; None: 8.
        channels: 1, 3 or None (1).
    """

    image_size: int | None = None
    channels: int | None = None

    @property
    def name(self) -> str:
        return "digits"

    def load(self, cache: Path | None = None) -> ImageDataset:
        """As :meth:`ImageSource.load`; reading the package's file costs less than a cache, so nothing is kept."""
        return self.read(ItemDecoder())

    def key(self) -> Any:
        return []

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        bunch = load_digits()
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        rows = enumerate(zip(pixels, bunch.target.tolist(), strict=True))
        return (Item(f"digits image {i}", image, label, "train") for i, (image, label) in rows), None

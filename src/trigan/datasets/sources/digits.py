"""scikit-learn's digits: 1,797 real 8x8 images that come with the package."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution, version
from typing import Any

import numpy as np

from trigan.component_ids import component
from trigan.datasets.sources.image_source import ImageSource, Item


@component("data/digits@1")
@dataclass(frozen=True)
class Digits(ImageSource):
    """Handwritten digits (Alpaydin & Kaynak 1998), grey values 0..16 -> round(v * 255 / 16); no official test set."""

    name = "digits"

    def key(self) -> Any:
        """See `ImageSource.key`: they change only with the package."""
        return ["scikit-learn", version("scikit-learn")]

    def listing(self) -> tuple[Iterator[Item], Sequence[str] | None]:
        """See `ImageSource.listing`."""
        # the file that sklearn.datasets.load_digits reads, without the second that this takes to import
        file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
        table = np.loadtxt(str(file), delimiter=",")
        pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        rows = enumerate(zip(pixels, table[:, -1].astype(int).tolist(), strict=True))
        return (Item(f"digits image {i}", image, label, "train") for i, (image, label) in rows), None

"""Labelled images on disk: a folder per class, or one Parquet file in the layout of Hugging Face ``datasets``."""

import io
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from PIL import Image
from torch import Tensor

#: The name contains no split, so readers take the file as training images.
PARQUET_NAME = "samples.parquet"


class Writer(AbstractContextManager["Writer"]):
    """Writes labelled images within a ``with`` block, numbered within their class: ``CLASS/000123.png``."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.root, self.classes, self.folders = root, list(classes), folder_names(classes)
        self.counts = [0] * len(self.classes)

    def write(self, images: Tensor, labels: Tensor) -> None:
        """Append images uint8 (n, 1 or 3, S, S) with labels (n,)."""
        names = []
        for label in labels.tolist():
            names.append(f"{self.folders[label]}/{self.counts[label]:06d}.png")
            self.counts[label] += 1
        pixels = images.permute(0, 2, 3, 1).numpy()
        self.save(
            [Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in pixels], names, labels
        )

    @abstractmethod
    def save(self, images: list[Image.Image], names: list[str], labels: Tensor) -> None:
        """Store one batch."""


class FolderWriter(Writer):
    """``root/CLASS/000123.png``; ``root/train/CLASS/...`` if a class is named "train".

    Otherwise a reader would take that class's folder for the training part.
    """

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        super().__init__(root, classes)
        self.root = root / "train" if "train" in self.folders else root

    def __enter__(self) -> Self:
        for folder in self.folders:
            (self.root / folder).mkdir(parents=True)
        return self

    def __exit__(self, *exception: object) -> None:
        for folder, count in zip(self.folders, self.counts, strict=True):
            if not count:
                (self.root / folder).rmdir()

    def save(self, images: list[Image.Image], names: list[str], labels: Tensor) -> None:
        """Write one PNG for each image."""
        for image, name in zip(images, names, strict=True):
            image.save(self.root / name)


class ParquetWriter(Writer):
    """``root/samples.parquet``: ``image`` {bytes, path} and ``label``, with the class names in its metadata."""

    def __enter__(self) -> Self:
        import datasets
        import pyarrow.parquet as pq

        columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=self.classes)}
        self._schema: Any = datasets.Features(columns).arrow_schema
        self._file: Any = pq.ParquetWriter(self.root / PARQUET_NAME, self._schema)
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def save(self, images: list[Image.Image], names: list[str], labels: Tensor) -> None:
        """Append one row group."""
        import pyarrow as pa

        cells = [{"bytes": _png(image), "path": name} for image, name in zip(images, names, strict=True)]
        self._file.write_table(pa.Table.from_pydict({"image": cells, "label": labels.tolist()}, schema=self._schema))


def folder_names(classes: Sequence[str]) -> list[str]:
    """Class names as distinct folder names without slashes or leading dots, none empty."""
    names: list[str] = []
    for label, name in enumerate(classes):
        safe = "".join("_" if letter in '/\\:*?"<>|' or not letter.isprintable() else letter for letter in name).strip()
        safe = f"_{safe[1:]}" if safe.startswith(".") or not safe else safe
        taken = {other.lower() for other in names}  # some file systems ignore case
        choices = (safe, *(f"{safe}_{n}" for n in range(label, label + len(classes) + 1)))
        names.append(next(choice for choice in choices if choice.lower() not in taken))
    return names


def _png(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "png")
    return encoded.getvalue()

"""Labelled images on disk: a folder per class, or one Parquet file in the layout of Hugging Face ``datasets``."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

#: Not split by name: a reader takes the only file of a folder for the training images.
PARQUET_NAME = "samples.parquet"


class Writer(Protocol):
    """Takes images uint8 (n, C, S, S) and labels (n,); as a context manager it ends the file."""

    def __enter__(self) -> "Writer": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, images: Tensor, labels: Tensor) -> None: ...


class FolderWriter:
    """``root/CLASS/000123.png``, numbered within the class; below ``root/train`` if a class itself is named so.

    Else a reader would take that class's folder for the training part.
    """

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        names = folder_names(classes)
        parent = root / "train" if "train" in names else root
        self._folders = [parent / name for name in names]
        self._counts = [0] * len(names)

    def __enter__(self) -> "FolderWriter":
        for folder in self._folders:
            folder.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder, count in zip(self._folders, self._counts, strict=True):
            if not count:
                folder.rmdir()

    def write(self, images: Tensor, labels: Tensor) -> None:
        for image, label in zip(images, labels.tolist(), strict=True):
            _picture(image).save(self._folders[label] / f"{self._counts[label]:06d}.png")
            self._counts[label] += 1


class ParquetWriter:
    """``root/samples.parquet``: ``image`` {bytes, path} and ``label``, with the class names in its metadata."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self._path, self._classes = root / PARQUET_NAME, list(classes)
        self._names = folder_names(classes)
        self._counts = [0] * len(classes)

    def __enter__(self) -> "ParquetWriter":
        import datasets
        import pyarrow.parquet as pq

        kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=self._classes)}
        self._schema: Any = datasets.Features(kinds).arrow_schema
        self._file: Any = pq.ParquetWriter(self._path, self._schema)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, images: Tensor, labels: Tensor) -> None:
        import pyarrow as pa

        cells = [self._cell(image, label) for image, label in zip(images, labels.tolist(), strict=True)]
        self._file.write_table(pa.Table.from_pydict({"image": cells, "label": labels.tolist()}, schema=self._schema))

    def _cell(self, image: Tensor, label: int) -> dict[str, Any]:
        encoded = io.BytesIO()
        _picture(image).save(encoded, "png")
        path = f"{self._names[label]}/{self._counts[label]:06d}.png"
        self._counts[label] += 1
        return {"bytes": encoded.getvalue(), "path": path}


def folder_names(classes: Sequence[str]) -> list[str]:
    """Class names as names of folders, each its own: no slashes, no leading dot, not empty."""
    names: list[str] = []
    for label, name in enumerate(classes):
        safe = "".join("_" if letter in '/\\:*?"<>|' or not letter.isprintable() else letter for letter in name).strip()
        safe = f"_{safe[1:]}" if safe.startswith(".") or not safe else safe
        # some file systems don't tell capitals from small letters
        taken = {other.lower() for other in names}
        free = (name for name in (safe, *(f"{safe}_{n}" for n in range(label, label + len(classes) + 1))))
        names.append(next(name for name in free if name.lower() not in taken))
    return names


def _picture(image: Tensor) -> Image.Image:
    """uint8 (1 or 3, S, S) -> grey or RGB."""
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).contiguous().numpy())

"""Labelled images on disk: a folder per class, or one Parquet file in the layout of Hugging Face ``datasets``."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torch import Tensor

#: The name contains no split, so readers take the file as training images.
PARQUET_NAME = "samples.parquet"


class Writer:
    """Writes labelled images, numbered within their class: ``CLASS/000123.png``.

    ``save`` stores a batch: the images, these names and the labels.
    """

    def __init__(self, classes: Sequence[str], save: Callable[[list[Image.Image], list[str], list[int]], None]) -> None:
        self.folders, self.save = folder_names(classes), save
        self.counts = [0] * len(classes)

    def write(self, images: Tensor, labels: Tensor) -> None:
        """Append images uint8 (n, 1 or 3, S, S) with labels (n,)."""
        names = []
        for label in labels.tolist():
            names.append(f"{self.folders[label]}/{self.counts[label]:06d}.png")
            self.counts[label] += 1
        pixels = images.permute(0, 2, 3, 1).numpy()
        pictures = [Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in pixels]
        self.save(pictures, names, labels.tolist())


@contextmanager
def folder_writer(root: Path, classes: Sequence[str]) -> Iterator[Writer]:
    """Write ``root/CLASS/000123.png``; ``root/train/CLASS/...`` if a class is named "train".

    Otherwise a reader would take that class's folder for the training part.
    """

    def save(images: list[Image.Image], names: list[str], labels: list[int]) -> None:
        for image, name in zip(images, names, strict=True):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)

    writer = Writer(classes, save)
    folder = root / "train" if "train" in writer.folders else root
    yield writer


@contextmanager
def parquet_writer(root: Path, classes: Sequence[str]) -> Iterator[Writer]:
    """Write ``root/samples.parquet``: ``image`` {bytes, path} and ``label``, with the class names in its metadata."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))}
    schema = datasets.Features(columns).arrow_schema
    with pq.ParquetWriter(root / PARQUET_NAME, schema) as file:

        def save(images: list[Image.Image], names: list[str], labels: list[int]) -> None:
            cells = [{"bytes": _png(image), "path": name} for image, name in zip(images, names, strict=True)]
            file.write_table(pa.Table.from_pydict({"image": cells, "label": labels}, schema=schema))

        yield Writer(classes, save)


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

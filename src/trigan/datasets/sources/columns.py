"""The image and the label column of a table: found, and read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trigan.component_ids import component
from trigan.datasets.sources.image_source import Label
from trigan.errors import DataError

_ROWS_PER_BATCH = 1000
#: Beginnings of the types that a label may have.
_LABEL_TYPES = ("int", "uint", "string", "large_string", "bool")


@component("data/columns@1")
@dataclass(frozen=True)
class Columns:
    """Names of the image and the label column; if one is absent, the only column of its kind is taken."""

    image: str = "image"
    label: str = "label"

    def find_image(self, features: Mapping[str, Any], location: str) -> str:
        """The image column among ``features``.

        Raises:
            DataError: the named column is absent and no other is the only one of its kind; see also `find_label`.
        """
        from datasets import Image

        images = [
            name
            for name, kind in features.items()
            if isinstance(kind, Image) or (isinstance(kind, Mapping) and "bytes" in kind)
        ]
        return _choose("image", self.image, features, images, location)

    def find_label(self, features: Mapping[str, Any], location: str) -> str:
        """The label column among ``features``."""
        from datasets import ClassLabel, Value

        classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
        plain = [
            name for name, kind in features.items() if isinstance(kind, Value) and kind.dtype.startswith(_LABEL_TYPES)
        ]
        return _choose("label", self.label, features, classes or plain, location)


def read_rows(table: Any, image: str, label: str | None) -> Iterator[tuple[Any, Label]]:
    """(image struct, label or None) of each row, still encoded, from the columns of these names."""
    for batch in table.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH):
        images = batch.column(image).to_pylist()
        labels = batch.column(label).to_pylist() if label is not None else [None] * len(images)
        yield from zip(images, (_label(value, label) for value in labels), strict=True)


def image_bytes(data: Any, column: str, location: str) -> bytes:
    """The image file's bytes in the image column of a row."""
    content = data.get("bytes") if isinstance(data, Mapping) else data
    if not isinstance(content, bytes):
        raise DataError(f"{location}: column '{column}' holds no image bytes; save the images into the Parquet file")
    return content


def _choose(kind: str, name: str, features: Mapping[str, Any], candidates: list[str], location: str) -> str:
    if name in features:
        return name
    if len(candidates) == 1:
        return candidates[0]
    raise DataError(
        f"{location}: {kind} column '{name}' not found among {', '.join(features)}; set data.source.columns.{kind}=NAME"
    )


def _label(value: Any, column: str | None) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return int(value)
    raise DataError(f"label column '{column}' holds {value!r}; labels must be integers or text")

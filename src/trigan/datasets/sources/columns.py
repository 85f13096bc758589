"""Finds the image and the label column of a table, and reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trigan.components import component
from trigan.datasets.sources.label_encoding import Label
from trigan.errors import DataError

_ROWS_PER_BATCH = 1000


@component("data/columns@1")
@dataclass(frozen=True)
class Columns:
    """Names of the image and the label column; if one is absent, the only column of its kind is taken."""

    image: str = "image"
    label: str = "label"


@dataclass(frozen=True)
class ResolvedColumns:
    """The columns of one data set, and the names of its integer labels if it has them."""

    image: str
    label: str
    names: list[str] | None

    def rows(self, table: Any, with_labels: bool) -> Iterator[tuple[Any, Label]]:
        """(image struct, label or None) of each row, still encoded."""
        for batch in table.with_format("arrow").iter(batch_size=_ROWS_PER_BATCH):
            images = batch.column(self.image).to_pylist()
            labels = batch.column(self.label).to_pylist() if with_labels else [None] * len(images)
            yield from zip(images, (_label(value, self.label) for value in labels), strict=True)

    def encoded(self, data: Any, location: str) -> bytes:
        """The image file's bytes in the image column of a row."""
        content = data.get("bytes") if isinstance(data, Mapping) else data
        if not isinstance(content, bytes):
            raise DataError(
                f"{location}: column '{self.image}' holds no image bytes; save the images into the Parquet file"
            )
        return content


def find_columns(features: Mapping[str, Any], requested: Columns, location: str) -> ResolvedColumns:
    """The image and the label column among ``features``.

    Raises:
        DataError: the requested column is absent and no other is the only one of its kind.
    """
    from datasets import ClassLabel, Value

    image = image_column(features, requested, location)
    classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    plain = [name for name, kind in features.items() if isinstance(kind, Value) and _may_be_label(kind.dtype)]
    label = _choose(requested, "label", features, classes or plain, location)
    return ResolvedColumns(image, label, getattr(features[label], "names", None) or None)


def image_column(features: Mapping[str, Any], requested: Columns, location: str) -> str:
    """The image column alone, as `find_columns` finds it."""
    from datasets import Image

    images = [
        name
        for name, kind in features.items()
        if isinstance(kind, Image) or (isinstance(kind, Mapping) and "bytes" in kind)
    ]
    return _choose(requested, "image", features, images, location)


def _choose(requested: Columns, kind: str, features: Mapping[str, Any], candidates: list[str], location: str) -> str:
    name: str = getattr(requested, kind)
    if name in features:
        return name
    if len(candidates) == 1:
        return candidates[0]
    raise DataError(
        f"{location}: {kind} column '{name}' not found among {', '.join(features)}; set data.source.columns.{kind}=NAME"
    )


def _may_be_label(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "string", "large_string", "bool"))


def _label(value: Any, column: str) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return int(value)
    raise DataError(f"label column '{column}' holds {value!r}; labels must be integers or text")

"""Which column holds the images and which the labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trigan.components import component
from trigan.data.sources.label_encoding import Label
from trigan.errors import DataError

_ROWS_AT_ONCE = 1000


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
        for batch in table.with_format("arrow").iter(batch_size=_ROWS_AT_ONCE):
            images = batch.column(self.image).to_pylist()
            labels = batch.column(self.label).to_pylist() if with_labels else [None] * len(images)
            yield from zip(images, (_label(value, self.label) for value in labels), strict=True)

    def encoded(self, data: Any, where: str) -> bytes:
        """The image file's bytes in a row."""
        inner = data.get("bytes") if isinstance(data, Mapping) else data
        if not isinstance(inner, bytes):
            raise DataError(
                f"{where}: column '{self.image}' holds no image bytes; save the images into the Parquet file"
            )
        return inner


def find_columns(features: Mapping[str, Any], wanted: Columns, where: str) -> ResolvedColumns:
    """The image and the label column among ``features``.

    Raises:
        DataError: listing the columns, if the wanted one is absent and no other is the only one of its kind.
    """
    from datasets import ClassLabel, Value

    image = image_column(features, wanted, where)
    classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    plain = [name for name, kind in features.items() if isinstance(kind, Value) and _may_be_label(kind.dtype)]
    label = _choose(wanted.label, list(features), [classes, plain], f"{where}: label", "data.source.columns.label")
    kind = features[label]
    return ResolvedColumns(image, label, list(kind.names) if isinstance(kind, ClassLabel) and kind.names else None)


def image_column(features: Mapping[str, Any], wanted: Columns, where: str) -> str:
    """The image column alone, as :func:`find_columns` finds it."""
    from datasets import Image

    images = [name for name, kind in features.items() if isinstance(kind, Image) or _is_struct(kind)]
    return _choose(wanted.image, list(features), [images], f"{where}: image", "data.source.columns.image")


def _choose(wanted: str, there: list[str], kinds: list[list[str]], what: str, setting: str) -> str:
    if wanted in there:
        return wanted
    for candidates in kinds:
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    raise DataError(f"{what} column '{wanted}' not found among {', '.join(there)}; set {setting}=NAME")


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, Mapping) and "bytes" in kind


def _may_be_label(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "string", "large_string", "bool"))


def _label(value: Any, column: str) -> Label:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return int(value)
    raise DataError(f"label column '{column}' holds {value!r}; labels must be integers or texts")

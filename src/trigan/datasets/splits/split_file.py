"""A split as one JSON file, so that other programs can train and test on it; docs/submit.md describes the format.

It holds the source indices of every part, and the labels that a method may use: those of labelled and validation
images, noise included. It has no labels of test and unlabelled images, nor their paths, which may name a class.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from trigan.datasets.splits.split_info import index_digest
from trigan.datasets.splits.splitter import LABELLED_PARTS, PARTS, DataSplit, Parts
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

_Count = Annotated[int, Field(ge=0, lt=2**62)]


class SplitFilePart(BaseModel, strict=True, extra="forbid"):
    """A part whose labels are hidden."""

    indices: list[_Count] = Field(description="source indices, ascending")
    sha256: str = Field(description="of the indices as little-endian int64")


class LabelledSplitFilePart(SplitFilePart, extra="ignore"):
    """A part whose labels are visible, noise included."""

    labels: list[_Count] = Field(description="class numbers, one for each index")
    paths: list[str] | None = Field(None, description="image files, relative to the data set's folder")


class SplitFileData(BaseModel, strict=True):
    """The data set that the file splits."""

    fingerprint: str
    name: str = "unnamed"
    images: _Count | None = None
    classes: list[str] | None = Field(None, description="names, by class number")


class SplitFile(BaseModel, strict=True):
    """The content of a split file; ``SplitFile.model_json_schema()`` is its JSON Schema."""

    format: Literal["trigan-split"]
    version: Literal[1]
    data: SplitFileData
    trial: int
    regime: dict[str, Any] = Field(description="the settings of the draw, for information")
    stamps: list[str] = Field(description='marks that tables print, such as "val-large"')
    labels_changed: _Count = Field(description="labels that differ from the data set's own")
    labelled: LabelledSplitFilePart
    validation: LabelledSplitFilePart
    unlabelled: SplitFilePart
    test: SplitFilePart
    digest: str = Field(description="SHA-256 of fingerprint, trial, stamps, labels_changed and all parts")
    _path: Path = Path()

    @model_validator(mode="after")
    def _consistent(self) -> "SplitFile":
        for name, rows in self.parts.items():
            part = getattr(self, name)
            if (np.diff(rows) <= 0).any():
                raise ValueError(f"{name}.indices: expected ascending, each once")
            if part.sha256 != index_digest(rows):
                raise ValueError(f"{name}.sha256 is not that of its indices")
            if name in LABELLED_PARTS and len(part.labels) != len(rows):
                raise ValueError(f"{name}.labels: expected one class number for each of its {len(rows)} indices")
            if name in ("labelled", "test") and not len(rows):
                raise ValueError(f"{name} has no images")
        if self.digest != split_digest(self.model_dump()):
            raise ValueError("digest is not that of the content")
        images, counts = np.unique(np.concatenate([rows for _, rows in self.parts.items()]), return_counts=True)
        for image in images[counts > 1]:
            first, second, *_ = (name for name, rows in self.parts.items() if image in rows)
            raise ValueError(f"image {image} is in both {first} and {second}")
        return self

    @property
    def path(self) -> Path:
        """The file, for error messages."""
        return self._path

    @property
    def parts(self) -> Parts:
        """Source indices of each part, ascending."""
        return Parts(*(np.array(getattr(self, name).indices, dtype=np.int64) for name in PARTS))

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Visible labels of the labelled and of the validation images."""
        return (np.array(self.labelled.labels, dtype=np.int64), np.array(self.validation.labels, dtype=np.int64))


def split_file_content(
    source: ImageDataset, split: DataSplit, regime: Mapping[str, Any], paths: Sequence[str] | None
) -> dict[str, Any]:
    """The content of the file of a ``split`` of ``source``, as plain values.

    Of the ``paths`` of all images, if the source knows them, it has those of labelled and validation images.
    """
    validation = split.view.validation
    labels = {
        "labelled": split.view.labelled.labels.numpy(),
        "validation": np.empty(0, dtype=np.int64) if validation is None else validation.labels.numpy(),
    }
    parts: dict[str, Any] = {}
    for name, rows in split.parts.items():
        order = np.argsort(rows)
        parts[name] = {"sha256": index_digest(rows), "indices": rows[order].tolist()}
        if name in LABELLED_PARTS:
            parts[name]["labels"] = labels[name][order].tolist()
            if paths is not None:
                parts[name]["paths"] = [paths[row] for row in rows[order].tolist()]
    data = {"name": source.name, "fingerprint": source.fingerprint, "images": len(source.labels)}
    content = {
        "format": "trigan-split",
        "version": 1,
        "data": {**data, "classes": list(source.class_names)},
        "trial": split.info.trial,
        "regime": dict(regime),
        "stamps": list(split.info.stamps),
        "labels_changed": split.info.labels_changed,
        **parts,
    }
    return {**content, "digest": split_digest(content)}


def split_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the split itself: the same for two files that differ in names, paths and layout alone.

    It is taken over JSON with sorted keys and no spaces of: fingerprint, trial, stamps, labels_changed, the SHA-256 of
    the indices of each part, and the labels.
    """
    hashed: dict[str, Any] = {key: content[key] for key in ("trial", "stamps", "labels_changed")}
    hashed["fingerprint"] = content["data"]["fingerprint"]
    for name in PARTS:
        hashed[name] = {key: content[name][key] for key in ("sha256", "labels") if key in content[name]}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def split_file_bytes(content: Mapping[str, Any]) -> bytes:
    """The file: JSON with one line for each of its keys, the same bytes for the same split."""
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_split_file(path: Path) -> SplitFile:
    """Read a split file, and check all that needs no data set.

    Raises:
        DataError: one line that names the file, the key and the error.
    """
    try:
        file = SplitFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the split file {path}: {error.strerror}") from error
    except ValidationError as error:
        raise DataError(
            f"{path}: {_one_line(error)}; export the split again (`trigan splits export`), or correct the file as "
            "docs/submit.md describes it"
        ) from error
    file._path = path
    return file


def _one_line(error: ValidationError) -> str:
    """The first error as ``key: value, expected ...``."""
    first = error.errors(include_url=False)[0]
    key, kind, value = ".".join(map(str, first["loc"])), first["type"], first["input"]
    if kind == "json_invalid":
        return f"is not JSON ({first['ctx']['error']})"
    if key in ("", "format") and kind != "value_error":
        return 'is not a split file, expected a JSON object with "format": "trigan-split"'
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"{key}: does not belong in the file, because the labels of this part are hidden"
    expected = first["msg"].removeprefix("Value error, ").replace("Input should be ", "expected ")
    shown = f"{value!r}, " if isinstance(value, str | int | float | None) and len(str(value)) < 80 else ""
    return f"{key}: {shown}{expected}" if key else expected

"""A split as one JSON file, for other programs, and as the split of a run; docs/submit.md describes the format.

It holds the source indices of every part, and the labels that a method may use: those of labelled and validation
images, noise included. It has no labels of test and unlabelled images, nor their paths, which may name a class. As the
split of a run it is checked against the data set, then used unchanged.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from trigan.component_ids import component
from trigan.datasets.splits.splitter import LABELLED_PARTS, PARTS, DataSplit, Parts, Splitter, index_digest
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError

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
    _path: Path = Path()  # for error messages

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


def content_digest(split: str | None) -> str:
    """Identity of ``regime.split`` in a run's hash: the file's content, not its location."""
    return RegimeFromFile(split).read().digest


@component("regime/from_file@1")
@dataclass(frozen=True)
class RegimeFromFile:
    """The regime of a split file: which images train, validate, stay unlabelled and test, and with which labels.

    Attributes:
        split: the file, as `trigan splits export` writes it.
    """

    split: str | None = field(default=None, metadata={"identity": content_digest})

    def read(self) -> SplitFile:
        """The file's content.

        Raises:
            ConfigError: no file is set.
            DataError: the file is missing or wrong.
        """
        if self.split is None:
            raise ConfigError(
                "regime=from_file needs a split file: set regime.split=FILE (`trigan splits export` writes one)"
            )
        return read_split_file(Path(self.split).expanduser())


def split_from_file(source: ImageDataset, file: SplitFile, trial: int) -> DataSplit:
    """The split of a file, for the run of ``trial``.

    Parts are put into the trial's hash order, so a file that was exported from a draw gives the draw itself, and one
    with the same images in another order gives the same run.

    Raises:
        DataError: the file belongs to another data set or trial, or breaks a rule of the protocol.
    """
    if trial != file.trial:
        raise DataError(
            f"{file._path} is the split of trial {file.trial}, and this run has trial={trial}; set trial={file.trial}"
        )
    if file.data.fingerprint != source.fingerprint:
        raise DataError(
            f"{file._path} splits another data set: {file.data.name} with fingerprint {file.data.fingerprint[:16]}, "
            f"and this is {source.name} with {source.fingerprint[:16]}; choose the data set that it was made for"
        )
    return _FileSplitter(source, file).split()


class _FileSplitter(Splitter):
    def __init__(self, source: ImageDataset, file: SplitFile) -> None:
        super().__init__(source, file.trial)
        self.file, self.parts = file, file.parts

    def split(self) -> DataSplit:
        """Check the file against the data set, then cut out its parts."""
        self._check_range()
        self._check_test()
        self._check_copies()
        self._check_groups()
        self._check_pool()
        self._check_labels()
        parts = Parts(
            self.shuffled(self.parts.labelled, "order"),
            self.shuffled(self.parts.validation, "order"),
            self.shuffled(self.parts.unlabelled, "unlabelled"),
            self.parts.test,
        )
        labels = (
            self.file.labels[0][np.searchsorted(self.parts.labelled, parts.labelled)],
            self.file.labels[1][np.searchsorted(self.parts.validation, parts.validation)],
        )
        return self.build_split(parts, labels, tuple(self.file.stamps), self.file.digest)

    def _error(self, problem: str, mend: str) -> DataError:
        return DataError(f"{self.file._path}: {problem}; {mend}")

    def _refuse_any(self, rows: np.ndarray, part: str, problem: str, mend: str = "leave it out") -> None:
        if len(rows):
            raise self._error(f"image {rows[0]} of {part} {problem}", mend)

    def _check_range(self) -> None:
        count = len(self.labels)
        for name, rows in self.parts.items():
            self._refuse_any(rows[rows >= count], name, f"does not exist: {self.source.name} has {count} images")

    def _check_test(self) -> None:
        """A source's own test set must be the test set; without one, any labelled images may be."""
        official, test = self.source.official_test, self.parts.test
        if official is not None and not np.array_equal(test, np.flatnonzero(official.numpy())):
            raise self._error(
                f"its {len(test)} test images are not the official test set of {self.source.name} "
                f"({int(official.sum())} images)",
                "test on that",
            )

    def _check_copies(self) -> None:
        for (one, rows), (other, other_rows) in combinations(self.parts.items(), 2):
            copies, in_rows, in_other = np.intersect1d(
                self.first_copies[rows], self.first_copies[other_rows], return_indices=True
            )
            if len(copies):
                raise self._error(
                    f"image {rows[in_rows[0]]} of {one} and image {other_rows[in_other[0]]} of {other} have the same "
                    "pixels",
                    "put equal images into one part",
                )

    def _check_groups(self) -> None:
        if self.groups is None:
            return
        for (one, rows), (other, other_rows) in combinations(self.parts.items(), 2):
            shared = np.intersect1d(self.groups[rows], self.groups[other_rows])
            if len(shared):
                first, second = (part[self.groups[part] == shared[0]][0] for part in (rows, other_rows))
                raise self._error(
                    f"{len(shared)} groups have images in both {one} and {other}, as image {first} of {one} and image "
                    f"{second} of {other}",
                    "put all images of a group into one part, or set data.group=null",
                )

    def _check_pool(self) -> None:
        """Only images of the training pool may train; counts what the pool and the parts leave out."""
        rows = np.arange(len(self.labels))
        outside_test = ~np.isin(self.first_copies, self.first_copies[self.parts.test])
        pool = self.without_label_conflicts(rows[outside_test])
        self.n_train = len(pool)
        parts = dict(self.parts.items())
        test = parts.pop("test")
        problem = "has the same pixels as an earlier image and another label, or none"
        for name, part in parts.items():
            self._refuse_any(np.setdiff1d(part, pool), name, problem)
        used = np.concatenate(list(parts.values()))
        if self.source.official_test is None:
            used = np.concatenate([used, test])
        else:
            self.dropped_in_test = int((~outside_test).sum()) - len(test)
        unused_copies = np.isin(self.first_copies, self.first_copies[used]) & ~np.isin(rows, used)
        conflicting = outside_test & ~np.isin(rows, pool)
        self.dropped_duplicates += int((unused_copies & ~conflicting).sum())

    def _check_labels(self) -> None:
        for name in (*LABELLED_PARTS, "test"):
            rows = getattr(self.parts, name)
            self._refuse_any(rows[self.labels[rows] < 0], name, f"has no label in {self.source.name}")
        given = np.concatenate(self.file.labels)
        if given.max() >= self.classes:
            raise self._error(f"there is label {given.max()}, and classes are 0..{self.classes - 1}", "correct it")
        changed = int((self.labels[np.concatenate([self.parts.labelled, self.parts.validation])] != given).sum())
        if changed != self.file.labels_changed:
            raise self._error(
                f"{changed} labels differ from those of {self.source.name}, and labels_changed is "
                f"{self.file.labels_changed}",
                "correct the labels, or set labels_changed to the number that the regime's noise changed",
            )
        counts = np.bincount(self.labels[self.parts.labelled], minlength=self.classes)
        for k in np.flatnonzero(counts == 0):
            raise self._error(f"class '{self.source.class_names[k]}' has no labelled image", "add some")

"""A split as one JSON file, so that other programs can train and test on it; docs/submit.md describes the format.

It holds the source indices of every part, and the labels that a method may see: those of labelled and validation
images, noise included. Labels of test and unlabelled images are not in it, nor their paths, which may name a class.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trigan.data.splits.split_info import index_digest
from trigan.data.splits.splitter import PARTS, DataSplit, Parts
from trigan.data.types import ImageDataset
from trigan.errors import DataError

FORMAT, VERSION = "trigan-split", 1
#: The parts whose labels are seen.
LABELLED = ("labelled", "validation")
_KEYS = {"format": str, "version": int, "data": dict, "trial": int, "regime": dict, "stamps": list}
_KEYS |= {"labels_changed": int, "digest": str, "labelled": dict, "validation": dict, "unlabelled": dict, "test": dict}


@dataclass(frozen=True, eq=False)
class SplitFile:
    """What a split file says.

    Attributes:
        path: of the file, for errors.
        data: ``name``, ``fingerprint``, ``images`` and ``classes`` of the data set.
        parts: source indices, ascending.
        labels: as they are seen, of the labelled and of the validation images.
        labels_changed: how many of them differ from the data set's own.
        stamps: marks that tables print, such as "val-large".
        digest: of what the file decides (:func:`split_digest`).
    """

    path: Path
    data: dict[str, Any]
    trial: int
    parts: Parts
    labels: tuple[np.ndarray, np.ndarray]
    labels_changed: int
    stamps: tuple[str, ...]
    digest: str


def split_file_content(
    source: ImageDataset, drawn: DataSplit, regime: Mapping[str, Any], paths: Sequence[str] | None
) -> dict[str, Any]:
    """What the file of a draw says, as plain values.

    Args:
        regime: the settings that the split was drawn with, for people.
        paths: of all images, if the source knows them; those of labelled and validation images are kept.
    """
    validation = drawn.view.validation
    labels = {
        "labelled": drawn.view.labelled.labels.numpy(),
        "validation": np.empty(0, dtype=np.int64) if validation is None else validation.labels.numpy(),
    }
    facts: dict[str, Any] = {}
    for name, rows in drawn.parts.items():
        order = np.argsort(rows)
        facts[name] = {"sha256": index_digest(rows), "indices": rows[order].tolist()}
        if name in LABELLED:
            facts[name]["labels"] = labels[name][order].tolist()
            if paths is not None:
                facts[name]["paths"] = [paths[row] for row in rows[order].tolist()]
    data = {"name": source.name, "fingerprint": source.fingerprint, "images": len(source.labels)}
    found = {
        "format": FORMAT,
        "version": VERSION,
        "data": {**data, "classes": list(source.class_names)},
        "trial": drawn.info.trial,
        "regime": dict(regime),
        "stamps": list(drawn.info.stamps),
        "labels_changed": drawn.info.labels_changed,
        **facts,
    }
    return {**found, "digest": split_digest(found)}


def split_digest(found: Mapping[str, Any]) -> str:
    """SHA-256 of what a split file decides: the same for two files that differ in names, paths and layout alone.

    It is taken over JSON with sorted keys and no spaces of: fingerprint, trial, stamps, labels_changed, the SHA-256 of
    the indices of each part, and the labels.
    """
    decided: dict[str, Any] = {key: found[key] for key in ("trial", "stamps", "labels_changed")}
    decided["fingerprint"] = found["data"]["fingerprint"]
    for name in PARTS:
        decided[name] = {key: found[name][key] for key in ("sha256", "labels") if key in found[name]}
    return hashlib.sha256(json.dumps(decided, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def split_file_bytes(found: Mapping[str, Any]) -> bytes:
    """The file: JSON with one line for each of its keys, the same bytes for the same split."""
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in found.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_split_file(path: Path) -> SplitFile:
    """Read a split file, and check what can be checked without the data set.

    Raises:
        DataError: one line that names the file, the key and what is wrong with it.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the split file {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); `trigan splits export` writes split files") from error
    wrong = _fault(found)
    if wrong:
        raise DataError(f"{path}: {wrong}; export the split again, or mend the file as docs/submit.md describes it")
    parts = {name: np.array(found[name]["indices"], dtype=np.int64) for name in PARTS}
    labelled, validation = (np.array(found[name]["labels"], dtype=np.int64) for name in LABELLED)
    return SplitFile(
        path=path,
        data=found["data"],
        trial=found["trial"],
        parts=Parts(**parts),
        labels=(labelled, validation),
        labels_changed=found["labels_changed"],
        stamps=tuple(found["stamps"]),
        digest=found["digest"],
    )


def _fault(found: Any) -> str | None:
    """What is wrong with a file's content in itself, or None."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return f'not a split file (it has no "format": "{FORMAT}")'
    if found.get("version") != VERSION:
        return f"version is {found.get('version')!r}, this trigan reads {VERSION}"
    for key, kind in _KEYS.items():
        if not isinstance(found.get(key), kind) or isinstance(found[key], bool):
            return f"{key} is {'missing' if key not in found else f'no {kind.__name__}'}"
    if not isinstance(found["data"].get("fingerprint"), str):
        return "data.fingerprint is missing"
    if not all(isinstance(stamp, str) for stamp in found["stamps"]):
        return "stamps: expected a list of texts"
    for name in PARTS:
        wrong = _part_fault(name, found[name])
        if wrong:
            return wrong
    for name in ("labelled", "test"):
        if not found[name]["indices"]:
            return f"{name} has no images"
    if found["digest"] != split_digest(found):
        return "digest is not that of the content"
    return _overlap({name: found[name]["indices"] for name in PARTS})


def _part_fault(name: str, part: dict[str, Any]) -> str | None:
    rows: Any = part.get("indices")
    labels: Any = part.get("labels")
    if not _whole_numbers(rows):
        return f"{name}.indices: expected a list of whole numbers, 0 or more"
    if any(first >= second for first, second in pairwise(rows)):
        return f"{name}.indices: expected ascending, each once"
    if part.get("sha256") != index_digest(np.array(rows, dtype=np.int64)):
        return f"{name}.sha256 is not that of its indices"
    if name in LABELLED:
        if not _whole_numbers(labels) or len(labels) != len(rows):
            return f"{name}.labels: expected one class number (0 or more) for each of its {len(rows)} indices"
    elif "labels" in part:
        return f"{name}.labels: these labels are hidden and do not belong into the file"
    return None


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 2**62 for number in value)


def _overlap(parts: Mapping[str, Sequence[int]]) -> str | None:
    owner: dict[int, str] = {}
    for name, rows in parts.items():
        for row in rows:
            if row in owner:
                return f"image {row} is in both {owner[row]} and {name}"
            owner[row] = name
    return None

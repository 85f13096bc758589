"""The record: the JSON file that a run ends with, and the only thing that tables and pictures read.

``result`` is canonical: the same config gives the same bytes (fp32, CPU). ``provenance`` is what may differ between
two runs of one config: seconds, memory, host, versions, dates. All scores are fractions in [0, 1], unrounded.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from trigan.atomic import write_bytes
from trigan.errors import ArtifactError

SCHEMA_VERSION = 2
RECORD_NAME = "record.json"
#: The shortest start of a run hash that is taken for one.
MIN_HASH_PREFIX = 4

#: The stamp of a record that another program's predictions gave (`trigan submit`); its cost may be unknown (None).
EXTERNAL = "external"

#: What a row may see: labelled, unlabelled, labels for selection, other data.
DATA_KINDS = ("L", "U", "V", "X")


class Scores(TypedDict):
    """What `trigan.evaluation.classification_metrics` gives; ``nll`` and ``ece`` only for probabilities."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: list[float | None]
    confusion: list[list[int]]
    n: int
    nll: NotRequired[float]
    ece: NotRequired[float]


class RunTags(TypedDict):
    """The names by which a run is found and grouped; ``study`` and ``row`` are None for a run of its own."""

    data: str
    regime: str
    architecture: str
    loss: str
    strategy: str
    classifier: str
    trial: int
    seed: int
    study: str | None
    row: str | None


class RunCost(TypedDict):
    """Counted cost of all stages that the run stands on, reused or not; ``images`` by player. None: unknown."""

    flops: int | None
    images: dict[str, int] | None


class Split(TypedDict):
    """Facts of the split; more keys (digests of the index sets, counts) may stand beside these.

    ``fingerprint``: of the data set.
    """

    fingerprint: NotRequired[str]
    test_redrawn: bool
    n_train: int
    n_test: int


class StageSummary(TypedDict):
    """One fit that the run stands on."""

    hash: str
    kind: str
    flops: int
    images: dict[str, int]


class CurvePoint(TypedDict):
    """One point of a curve of test accuracy: of C after so many images of its last fit."""

    images: int
    accuracy: float
    weights: str


class Result(TypedDict):
    """The canonical part: metrics, what was seen, hashes, counted cost."""

    status: Literal["finished", "diverged"]
    protocol: int | str
    rule: Literal["last", "val"]
    data_used: dict[str, int]
    labels: dict[str, int]
    test: Scores
    validation: NotRequired[Scores]
    curve: NotRequired[list[CurvePoint]]
    selection: NotRequired[Any]
    weights: dict[str, str]
    predictions: str
    cost: RunCost
    split: Split
    stages: list[StageSummary]
    stamps: list[str]


class Record(TypedDict):
    """One run."""

    schema_version: int
    run: str
    config: dict[str, Any]
    tags: RunTags
    result: Result
    provenance: dict[str, Any]


_TEXT, _COUNT, _REAL, _NAME = (str,), (int,), (int, float), (str, type(None))
_SHAPE: dict[str, tuple[type, ...]] = {
    "run": _TEXT,
    "config": (dict,),
    "tags": (dict,),
    **{f"tags.{key}": _TEXT for key in ("data", "regime", "architecture", "loss", "strategy", "classifier")},
    **{f"tags.{key}": _COUNT for key in ("trial", "seed")},
    **{f"tags.{key}": _NAME for key in ("study", "row")},
    "result": (dict,),
    "result.status": _TEXT,
    "result.protocol": (int, str),
    "result.rule": _TEXT,
    "result.data_used": (dict,),
    **{f"result.data_used.{key}": _COUNT for key in DATA_KINDS},
    "result.labels": (dict,),
    **{f"result.labels.{key}": _COUNT for key in ("training", "selection")},
    "result.test": (dict,),
    **{f"result.test.{key}": _REAL for key in ("accuracy", "balanced_accuracy", "macro_f1")},
    **{f"result.test.{key}": (list,) for key in ("recall", "confusion")},
    "result.test.n": _COUNT,
    "result.weights": (dict,),
    "result.predictions": _TEXT,
    "result.cost": (dict,),
    "result.cost.flops": (int, type(None)),
    "result.cost.images": (dict, type(None)),
    "result.split": (dict,),
    "result.split.test_redrawn": (bool,),
    **{f"result.split.{key}": _COUNT for key in ("n_train", "n_test")},
    "result.stages": (list,),
    "result.stamps": (list,),
    "provenance": (dict,),
}
_PATHS = {name: (tuple(name.split(".")), kinds) for name, kinds in _SHAPE.items()}
_CHOICES = {"status": ("finished", "diverged"), "rule": ("last", "val")}


def schema_error(record: Any) -> str | None:
    """What is wrong with a record, in one line that names the key; None for a sound one."""
    if not isinstance(record, dict):
        return "not a JSON object"
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        return f"schema_version is {version!r}, this trigan reads {SCHEMA_VERSION}"
    for name, (path, kinds) in _PATHS.items():
        value: Any = record
        for part in path:
            if part not in value:
                return f"{name} is missing"
            value = value[part]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            return f"{name} is {type(value).__name__}, should be {wanted}"
    for key, choices in _CHOICES.items():
        if record["result"][key] not in choices:
            return f"result.{key} is {record['result'][key]!r}, should be {' or '.join(choices)}"
    if None in record["result"]["cost"].values() and EXTERNAL not in record["result"]["stamps"]:
        return "result.cost is unknown, which only an external record's may be"
    return None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record atomically, as canonical bytes: sorted keys, shortest exact floats, a newline at the end.

    Raises:
        ArtifactError: the record lacks a key, holds what JSON cannot say (NaN, objects), or cannot be written.
    """
    wrong = schema_error(dict(record))
    if wrong:
        raise ArtifactError(f"cannot write {path}: {wrong}")
    write_bytes(path, _canonical(record, str(path), indent=1))


def canonical_result_bytes(record: Mapping[str, Any]) -> bytes:
    """The bytes of ``result`` that two runs of one config share: sorted keys, no spaces, a newline at the end."""
    return _canonical(record["result"], "result", indent=None)


def _canonical(value: Any, what: str, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        text = json.dumps(
            value, sort_keys=True, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"cannot write {what}: {error}") from error
    return f"{text}\n".encode()


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        ArtifactError: one line that names the file, what is wrong with it and what to do.
    """
    mend = "run its command again with --force"
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON ({error}): {mend}") from error
    wrong = schema_error(record)
    if wrong:
        raise ArtifactError(f"{path}: {wrong}: {mend}")
    return cast(Record, record)


def find_records(outputs: Path) -> tuple[list[Record], int]:
    """The records of all finished runs under ``outputs/runs``, sorted by run hash, and how many were left out.

    Debug runs are left out, wherever they lie: they enter no table.
    """
    found = [read_record(path) for path in sorted(outputs.glob(f"runs/*/{RECORD_NAME}"))]
    kept = [record for record in found if not record["config"].get("debug")]
    return kept, len(found) - len(kept)

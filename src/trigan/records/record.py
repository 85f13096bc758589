"""The record: the JSON file that a finished run writes last, and the only input of tables and plots.

``result`` is canonical: the same config gives the same bytes (fp32, CPU). ``provenance`` holds what may differ between
two runs of one config: seconds, memory, host, versions, dates. All scores are fractions in [0, 1], unrounded.
``checksum`` covers all other keys: a record that was changed or damaged later is refused.
"""

import json
import logging
import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from trigan.atomic import checksum, parse_json, write_bytes
from trigan.errors import ArtifactError, is_printable
from trigan.records.file_index import FileIndex

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
RECORD_NAME = "record.json"
#: Minimum length of an abbreviated run hash.
MIN_HASH_PREFIX = 4

#: Stamp of a record made from another program's predictions (`trigan submit`); only its cost may be unknown (None).
EXTERNAL = "external"
#: Begin of the stamp of a run whose networks began with the weights of a file; the file's SHA-256 follows.
PRETRAINED = "pretrained-"

#: Kinds of data that a row may use: labelled, unlabelled, labels for selection, other data.
DataKind = Literal["L", "U", "V", "X"]
DATA_KINDS: tuple[DataKind, ...] = get_args(DataKind)


class Scores(TypedDict):
    """Output of `trigan.evaluation.classification_metrics`; ``nll`` to ``aurc`` only for probabilities.

    The scores that rank images (``auroc`` to ``by_class``) are None where no class has some but not all test images.
    Records before 0.3.0 do not have them, nor do those of submitted classes without probabilities. The scores by recall
    (``geometric_mean`` to ``few_shot``) are None where no class is in a group; older records do not have them.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: list[float | None]
    confusion: list[list[int]]
    n: int
    auroc: NotRequired[float | None]
    average_precision: NotRequired[float | None]
    sensitivity: NotRequired[float | None]
    specificity: NotRequired[float]
    by_class: NotRequired[dict[str, list[float | None]]]
    geometric_mean: NotRequired[float | None]
    many_shot: NotRequired[float | None]
    medium_shot: NotRequired[float | None]
    few_shot: NotRequired[float | None]
    nll: NotRequired[float]
    ece: NotRequired[float]
    adaptive_ece: NotRequired[float]
    brier: NotRequired[float]
    aurc: NotRequired[float]


class RunTags(TypedDict):
    """Names for finding and grouping runs; ``study`` and ``row`` are None for a run outside a study."""

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


class DataCounts(TypedDict):
    """Number of images or labels used of each kind, see ``DATA_KINDS``."""

    L: int
    U: int
    V: int
    X: int


class LabelCounts(TypedDict):
    """Number of labels used for training and for selection."""

    training: int
    selection: int


class RunCost(TypedDict):
    """Counted cost of all stages of a run, reused or not; ``images`` by player. None: unknown."""

    flops: int | None
    images: dict[str, int] | None


class Split(TypedDict):
    """The split; further keys hold counts and digests of the index sets. ``fingerprint`` is that of the data set."""

    fingerprint: NotRequired[str]
    test_redrawn: bool
    n_train: int
    n_test: int


class DataInfo(TypedDict):
    """The data set; ``classes`` are the class names."""

    classes: NotRequired[list[str]]


class AugmentationCount(TypedDict):
    """A view of a stream's images: the ``augmentation`` that ran, with its parameters, and how many it changed."""

    view: str
    augmentation: dict[str, Any]
    images: int


class ClassifierCounts(TypedDict):
    """What was counted of C's training in a fit.

    ``images``: images that C's updates were shown, by stream (``fakes``: generated ones); ``augmented``: what was done
    to them; ``statistics``: number of images that its batch-norm statistics come from; ``pretrained``: SHA-256 of files
    of weights that the fit began with.
    """

    updates: int
    images: dict[str, int]
    augmented: NotRequired[dict[str, list[AugmentationCount]]]
    statistics: int
    pretrained: NotRequired[list[str]]


class WatchEvent(TypedDict):
    """An alarm of the collapse watch after ``step`` steps, what was done, and to which step's weights it returned."""

    step: int
    images: int
    signal: str
    value: float
    threshold: float
    action: Literal["warn", "stop", "rollback", "cure"]
    to: NotRequired[int]


class StageSummary(TypedDict):
    """One fit that the run depends on; ``name``: its name in the run; ``classifier``: if it trains a C.

    ``diverged``: of a diverged fit, its player and batch; ``events``: of the collapse watch, if there are any.
    """

    hash: str
    kind: str
    name: NotRequired[str]
    flops: int
    images: dict[str, int]
    classifier: NotRequired[ClassifierCounts]
    diverged: NotRequired[str]
    events: NotRequired[list[WatchEvent]]


class GeneratorFigures(TypedDict):
    """Output of `trigan.evaluation.generators.image_figures.compare_sets`, of the run's generator.

    ``embedding``, ``images`` and ``fingerprint`` are the stamp; ``floor`` has the same figures of real images.
    """

    embedding: str
    images: int
    fingerprint: str
    figures: dict[str, float]
    floor: dict[str, float]
    copying: bool


class AttackScore(TypedDict):
    """Accuracy under an attack of size ``eps`` (pixels in [0, 1]); L-inf, or L2 if its name ends so."""

    attack: str
    eps: float
    accuracy: float


class Robustness(TypedDict):
    """Output of `trigan.evaluation.robustness.robustness_scores`: accuracy on ``images`` of the test images.

    ``clean``: of these images as they are; ``steps``: of the attacks; ``corruptions``: by severity 1 to 5.
    """

    images: int
    clean: float
    steps: int
    attacks: NotRequired[list[AttackScore]]
    corruptions: NotRequired[dict[str, list[float]]]
    corruption_accuracy: NotRequired[float]


class Calibrated(TypedDict):
    """Scores of the test set after a scaling of logits by ``parameters``, fitted on ``labels`` validation labels."""

    method: Literal["temperature", "vector"]
    labels: int
    parameters: dict[str, Any]
    accuracy: float
    ece: float
    adaptive_ece: float
    nll: float
    brier: float
    aurc: float


class NoveltyScore(TypedDict):
    """AUROC of known against novel images, and the share of novel ones accepted beside 95 % of known ones."""

    auroc: float
    fpr: float


class Novelty(TypedDict):
    """Scores of ``images`` test images of held-out ``classes`` against ``known`` ones: `trigan.evaluation.novelty`."""

    classes: list[str]
    images: int
    known: int
    scores: dict[str, NoveltyScore]


class CurvePoint(TypedDict):
    """Accuracy of C after a number of images of its last fit, on the images that ``curve_images`` names."""

    images: int
    accuracy: float
    weights: str


class Result(TypedDict):
    """The canonical part: metrics, data used, hashes, counted cost."""

    status: Literal["finished", "diverged"]
    protocol: int | str
    rule: Literal["last", "val"]
    data_used: DataCounts
    labels: LabelCounts
    test: Scores
    validation: NotRequired[Scores]
    curve: NotRequired[list[CurvePoint]]
    curve_images: NotRequired[Literal["validation", "hidden_labels", "test"]]
    generator: NotRequired[GeneratorFigures]
    robustness: NotRequired[Robustness]
    calibrated: NotRequired[Calibrated]
    novelty: NotRequired[Novelty]
    selection: NotRequired[Any]
    weights: dict[str, str]
    predictions: str
    cost: RunCost
    split: Split
    stages: list[StageSummary]
    stamps: list[str]
    data: NotRequired[DataInfo]


@with_config(ConfigDict(strict=True, extra="allow"))
class Record(TypedDict):
    """One run. Types are checked strictly, in nested dictionaries too; undeclared keys are kept.

    ``checksum``: SHA-256 of the rest; records written before there was one lack it.
    """

    checksum: NotRequired[str]
    schema_version: Literal[2]
    run: str
    config: dict[str, Any]
    tags: RunTags
    result: Result
    provenance: dict[str, Any]


#: The compiled validator; ``RECORD_MODEL.json_schema()`` is the published schema.
RECORD_MODEL = TypeAdapter(Record)


def parse_record(content: bytes) -> Record:
    """Parse and check a record.

    Raises:
        ValueError: one line that names the first wrong key.
    """
    try:
        record = RECORD_MODEL.validate_python(parse_json(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, value = ".".join(map(str, first["loc"])) or "the record", first["input"]
        if first["type"] == "missing":
            message = f"{key} is missing"
        elif key == "schema_version":
            message = f"schema_version is {value!r}, this trigan reads {SCHEMA_VERSION}"
        else:
            message = f"{key} is {reprlib.repr(value)}, {first['msg'].replace('Input ', '')}"
        raise ValueError(message) from error
    if None in record["result"]["cost"].values() and EXTERNAL not in record["result"]["stamps"]:
        raise ValueError("result.cost is unknown, which is allowed for external records only")
    for part in ("test", "validation"):
        if part in record["result"]:
            _check_scores(f"result.{part}", record["result"][part])
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", record["run"]):  # it is part of paths
        raise ValueError(f"run is {reprlib.repr(record['run'])}, expected the hash of a run")
    for name in (*record["tags"].values(), *record["result"].get("data", {}).get("classes", ())):
        if isinstance(name, str) and not is_printable(name):
            raise ValueError(f"{reprlib.repr(name)} has a control character, which no name of a run has")
    return record


def _check_scores(name: str, scores: Scores) -> None:
    """Raise a ValueError unless the accuracy is that of the confusion matrix."""
    confusion = scores["confusion"]
    total = sum(map(sum, confusion))
    if total <= 0 or any(len(row) != len(confusion) or min(row) < 0 for row in confusion):
        raise ValueError(f"{name}.confusion is no square matrix of counts")
    accuracy = sum(row[index] for index, row in enumerate(confusion)) / total
    if abs(accuracy - scores["accuracy"]) > 1e-9:
        raise ValueError(f"{name}.accuracy is {scores['accuracy']}, and {name}.confusion has {accuracy}")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record atomically with its checksum, as canonical bytes: sorted keys, shortest exact floats.

    Raises:
        ArtifactError: the record lacks a key, holds a value that JSON lacks (NaN, objects), or cannot be written.
    """
    try:
        plain = json.loads(json.dumps(record, allow_nan=False))  # what a reader gets: keys are text
        text = json.dumps({**plain, "checksum": checksum(plain)}, sort_keys=True, indent=1, ensure_ascii=False)
        content = f"{text}\n".encode()
        parse_record(content)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"cannot write {path}: {error}") from error
    write_bytes(path, content)


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        ArtifactError: one line that names the file, the error and the command to run.
    """
    try:
        return parse_record(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}: run its command again with --force") from error


def find_records(outputs: Path, index: FileIndex | None = None) -> tuple[list[Record], int]:
    """The records of all finished runs under ``outputs/runs``, sorted by run hash, and the number of debug runs.

    Debug runs are excluded from tables, wherever they are stored.

    Raises:
        ArtifactError: a record is damaged, or lies in two folders.
    """
    read = index or FileIndex(outputs / "runs")
    records = {path: read_indexed(path, read) for path in sorted(outputs.glob(f"runs/*/{RECORD_NAME}"))}
    if index is None:
        read.save()
    first: dict[str, Path] = {}
    for path, record in records.items():
        if first.setdefault(record["run"], path) != path:
            raise ArtifactError(
                f"{path}: the record of run {record['run'][:20]}, as {first[record['run']]}: remove one"
            )
    kept = [record for record in records.values() if not record["config"].get("debug")]
    warn_without_checksum(kept)
    return kept, len(records) - len(kept)


def read_indexed(path: Path, index: FileIndex) -> Record:
    """As `read_record`, from the index if the file has not changed since."""
    record: Record = index.get(path, "record", read_record)
    return record


def warn_without_checksum(records: Iterable[Record]) -> None:
    """Log how many of the records were written before there were checksums, in one line."""
    counts = Counter("checksum" in record for record in records)
    if counts[False]:
        _log.info("no checksum: %d of %d records, written by an older trigan", counts[False], counts.total())

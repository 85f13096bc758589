"""Small records for the tests of tables."""

import copy
import hashlib
import json
from typing import Any

from trigan.records.record import SCHEMA_VERSION, Record

_SCORES = {"balanced_accuracy": 0.5, "macro_f1": 0.5, "recall": [0.5, None], "n": 2}
#: Images in a confusion matrix: enough to have any accuracy.
_IMAGES = 10**12
_RECORD: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "run": "00",
    "config": {},
    "tags": {
        "data": "digits",
        "regime": "few",
        "architecture": "dcgan",
        "loss": "hinge",
        "strategy": "baseline",
        "classifier": "small_cnn",
        "trial": 0,
        "seed": 0,
        "study": None,
        "row": None,
    },
    "result": {
        "status": "finished",
        "protocol": 1,
        "rule": "last",
        "data_used": {"L": 100, "U": 0, "V": 0, "X": 0},
        "labels": {"training": 100, "selection": 0},
        "test": {"accuracy": 0.9, **_SCORES},
        "weights": {"classifier": "ab"},
        "predictions": "cd",
        "cost": {"flops": 1_500_000_000_000, "images": {"classifier": 64_000}},
        "split": {"test_redrawn": False, "n_train": 1000, "n_test": 500},
        "stages": [],
        "stamps": [],
    },
    "provenance": {"seconds": 1.5},
}


def make_record(
    accuracy: float,
    trial: int = 0,
    seed: int | None = None,
    tags: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **result: Any,
) -> Record:
    """A sound record; ``result`` replaces parts of its result, dictionaries by merging."""
    made = copy.deepcopy(_RECORD)
    made["tags"].update({"trial": trial, "seed": trial if seed is None else seed, **(tags or {})})
    made["config"] = {"trial": trial, "seed": made["tags"]["seed"], **(config or {})}
    right = round(accuracy * _IMAGES) if accuracy == accuracy else 0
    made["result"]["test"] |= {"accuracy": accuracy, "confusion": [[right, _IMAGES - right], [0, 0]]}
    for key, value in result.items():
        if isinstance(value, dict):
            made["result"].setdefault(key, {}).update(value)
        else:
            made["result"][key] = value
    made["run"] = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return made  # type: ignore[return-value]


def canonical_result_bytes(record: Record) -> bytes:
    """Bytes of ``result``, equal for two runs of one config on the CPU."""
    return json.dumps(record["result"], sort_keys=True, allow_nan=False).encode()


def make_records(values: list[float], **parts: Any) -> list[Record]:
    """One record a trial, trials 0, 1, ..."""
    return [make_record(value, trial, **parts) for trial, value in enumerate(values)]

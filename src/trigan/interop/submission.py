"""Predictions of another program and its JSON file about itself (docs/submit.md), checked and kept as a table's row."""

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, StringConstraints, model_validator

from trigan.atomic import atomic_write
from trigan.config.compose import Composer, RunConfig
from trigan.config.settings import Evaluation
from trigan.datasets.predictions import read_predictions
from trigan.datasets.splits.split_file import read_split_file, split_file_content
from trigan.datasets.splits.splitter import DataSplit
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, is_printable
from trigan.evaluation.classification import classification_metrics
from trigan.identity import canonical_json, digest, tensor_digest
from trigan.interop.split_export import data_and_split
from trigan.records.record import EXTERNAL, RECORD_NAME, SCHEMA_VERSION, Record, write_record
from trigan.records.seal_ledger import append_use
from trigan.scores import recall_scores
from trigan.studies.file_model import FileModel, read_file
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import StudyFile
from trigan.tables.external_records import EXTERNAL_FOLDER, external_records, submission_key
from trigan.version import PROTOCOL_VERSION, __version__

_Count = Annotated[int, Field(ge=0)]
_Counted = Annotated[int, Field(gt=0)]
_UNKNOWN = "a whole number above 0; leave it out, or say null, where it is unknown"


class DataUsedSchema(FileModel):
    """How many images a method used."""

    L: _Count
    U: _Count
    V: _Count
    X: _Count


class CostSchema(FileModel):
    """Counted cost of a whole method; None: unknown."""

    flops: _Counted | None = Field(default=None, description=_UNKNOWN)
    images: Annotated[dict[str, _Counted], Field(min_length=1)] | None = Field(
        default=None, description=f"images by player, each {_UNKNOWN}"
    )


class Submission(FileModel):
    """The content of the file.

    Attributes:
        split: the split that the method was trained on: its file, or its digest.
        rule: ``val`` if the weights were chosen on validation labels, else ``last``.
    """

    method: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="the method's name"
    )
    url: str | None = Field(default=None, description="a text, or null")
    split: str = Field(description="the split file's path, or its digest")
    trial: _Count = Field(description="a whole number, 0 or more")
    seed: _Count = Field(default_factory=lambda data: data.get("trial", 0), description="a whole number, 0 or more")
    data_used: DataUsedSchema = Field(description="counts of images for L, U, V, X")
    rule: Literal["last", "val"] = Field(
        default_factory=lambda data: "val" if "data_used" in data and data["data_used"].V else "last",
        description="last, or val beside a V above 0",
    )
    cost: CostSchema = Field(
        default=CostSchema(), description="flops and images (by player); leave it out where it is unknown"
    )

    @model_validator(mode="after")
    def _val_needs_labels(self) -> Self:
        if self.rule == "val" and not self.data_used.V:
            raise ValueError("rule=val: expected last, or val beside a V above 0")
        return self


def read_submission(path: Path) -> Submission:
    """Read and check the file; its ``split`` is a digest then.

    Raises:
        ConfigError: one line that names the file, the key and what is wrong with it.
    """
    if not path.exists():
        raise ConfigError(f"{path} is missing; it states what the method used (docs/submit.md)")
    submission = read_file(Submission, path, json.loads)
    if re.fullmatch("[0-9a-f]{64}", submission.split):
        return submission
    file = read_split_file(path.parent / Path(submission.split).expanduser())
    return submission.model_copy(update={"split": file.digest})


def submit(
    file: Path,
    study: StudyFile,
    row: str,
    overrides: Sequence[str] = (),
    *,
    column: str | None = None,
    metadata: Path | None = None,
    config_dir: Path | None = None,
) -> tuple[Path, Record, bool]:
    """Score predictions (.npz or .csv) for the test set of a study's split, and keep them as a row of its table.

    ``row`` is the row's name, the same in all its trials. ``overrides`` say where things lie: ``data.root=...``,
    ``paths.outputs=...``. ``metadata`` states what the method used; by default it is beside ``file``, .json.

    Returns:
        The record's file, the record, and whether it is new.

    Raises:
        ConfigError: one line; nothing was written.
    """
    plan = StudyPlan(Composer(config_dir), study, overrides)
    if plan.variant():
        raise ConfigError(f"{plan.variant()}: makes another table of study {study.name}; submit to the study as it is")
    submission, column = read_submission(metadata or file.with_suffix(".json")), study.column(column)
    if not row.strip() or not is_printable(row):
        raise ConfigError(f"--row {row!r}: expected a name without line breaks and control characters")
    if row in {entry.name for entry in study.rows}:
        raise ConfigError(f"--row {row!r} is a row of study {study.name} itself; choose another name")
    if submission.trial not in study.trials:
        known = ", ".join(map(str, study.trials))
        raise ConfigError(f"trial {submission.trial} is not one of study {study.name}'s: {known}")
    composed, source, split = _find_split(plan, study, column, submission)
    _check_counts(submission, split)
    labels = {"study": study.name, "scale": study.scale, "row": row, "column": column}
    record, predictions = _record(file, submission, labels, composed, source, split)
    path = composed.paths.outputs / EXTERNAL_FOLDER / record["run"] / RECORD_NAME
    if path.is_file():
        return path, record, False
    for other_path, other in external_records(composed.paths.outputs):
        if submission_key(other) == submission_key(record):  # two would be averaged, or chosen from
            raise ConfigError(
                f"{other_path.parent} has other predictions for this row, column, trial and seed already; "
                "remove that folder first, or give another seed if it is another training"
            )
    use = record["run"], submission.trial, record["config"], dict(record["result"]["split"])
    append_use(composed.paths.runs, *use)
    with atomic_write(path.with_name("predictions.npz")) as kept:
        np.savez_compressed(kept, **predictions)  # type: ignore[arg-type]
    write_record(path, record)
    return path, record, True


def _find_split(
    plan: StudyPlan, study: StudyFile, column: str, submission: Submission
) -> tuple[RunConfig, ImageDataset, DataSplit]:
    """The split of the study that the submission names, with a run that has it and its data set."""
    runs = plan.runs(column, submission.trial).values()
    known = []
    for composed in {canonical_json([run.config["data"], run.config["regime"]]): run for run in runs}.values():
        source, split = data_and_split(composed)
        known.append(split.split_file_digest or split_file_content(source, split, {}, None)["digest"])
        if known[-1] == submission.split:
            return composed, source, split
    raise ConfigError(
        f"split {submission.split[:16]} is none of study {study.name}'s for column {column!r}, trial "
        f"{submission.trial} ({', '.join(each[:16] for each in known)}); `trigan splits export --study {study.name}` "
        "writes that"
    )


def _check_counts(submission: Submission, split: DataSplit) -> None:
    """Everything that the method used is in the split, or counted as other data, X."""
    used, sizes = submission.data_used, {name: len(rows) for name, rows in split.parts.items()}
    labels = sizes["labelled"] + sizes["validation"]
    images = labels + sizes["unlabelled"]
    if labels < used.L + used.V:
        raise ConfigError(f"data_used: L + V is {used.L + used.V}, and the split has {labels} labels; more would be X")
    if images < used.L + used.V + used.U:
        raise ConfigError(f"data_used: L + V + U is above the {images} training images of the split; more would be X")


def _record(
    file: Path,
    submission: Submission,
    labels: dict[str, Any],
    composed: RunConfig,
    source: ImageDataset,
    split: DataSplit,
) -> tuple[Record, dict[str, np.ndarray]]:
    """The record, and the arrays of ``predictions.npz`` as a run keeps them."""
    values, probabilistic = read_predictions(file, split.parts.test, len(source.class_names))
    scores = torch.from_numpy(values)
    scores_digest = tensor_digest(scores)
    test, spec = split.test.open(scores_digest), split.view.spec
    stated = submission.model_dump()
    cost = stated.pop("cost")
    about = {**labels, **stated, **cost}
    # classes alone rank no images
    settings = Evaluation(**composed.config["evaluation"])
    specificity = settings.specificity if probabilistic else None
    found = classification_metrics(scores, test.labels, spec.classes, probabilistic, specificity)
    counts = split.info.labelled.class_counts or ()
    run = {EXTERNAL: about, "data": source.fingerprint, "predictions": scores_digest, "protocol": PROTOCOL_VERSION}
    result = {
        "status": "finished",
        "protocol": PROTOCOL_VERSION,
        "rule": submission.rule,
        "data_used": stated["data_used"],
        "labels": {"training": submission.data_used.L, "selection": submission.data_used.V},
        "test": found | recall_scores(found["recall"], counts, settings.many_labels, settings.few_labels),
        "weights": {},
        "predictions": scores_digest,
        "cost": cost,
        "split": {**asdict(split.info), "n_test": len(test), "file": submission.split},
        "stages": [],
        "stamps": sorted({*split.info.stamps, EXTERNAL}),
        "notes": {},
        "data": {"fingerprint": source.fingerprint, "classes": list(source.class_names), "spec": asdict(spec)},
    }
    groups = dict.fromkeys(("architecture", "loss", "strategy", "classifier"), EXTERNAL)
    repeat = {key: about[key] for key in ("trial", "seed", "study", "row")}
    record: Any = {
        "schema_version": SCHEMA_VERSION,
        "run": digest(run, 20),
        "config": {EXTERNAL: about, **{key: composed.config[key] for key in ("data", "regime")}, **repeat},
        "tags": {**{key: str(composed.choices[key]) for key in ("data", "regime")}, **groups, **repeat},
        "result": result,
        "provenance": {  # no seconds, memory or host: nothing was run here
            EXTERNAL: True,
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "versions": {"trigan": __version__},
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    }
    test_groups: dict[str, np.ndarray] = {} if split.test_groups is None else {"groups": split.test_groups}
    return record, {"scores": values, "labels": test.labels.numpy(), "rows": split.parts.test, **test_groups}

"""``trigan submit``: predictions of any other program, checked against a study's split, as a row of its table."""

import hashlib
import io
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trigan import PROTOCOL_VERSION, __version__
from trigan.commands.arguments import Parser
from trigan.commands.splits import data_and_split
from trigan.config.compose import Composer, RunConfig
from trigan.errors import ConfigError
from trigan.interop.submission import Submission, read_submission
from trigan.records.record import EXTERNAL, RECORD_NAME, SCHEMA_VERSION, Record, write_record
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import StudyFile, find_study, read_study
from trigan.tables.external_records import EXTERNAL_FOLDER, external_records, submission_key

if TYPE_CHECKING:
    from trigan.data.splits.splitter import DataSplit
    from trigan.data.types import ImageDataset


def main(arguments: list[str]) -> int:
    """Check, score and keep one submission; the study's table shows it from then on."""
    options = _parser().parse_intermixed_args(arguments)
    study = read_study(find_study(options.study), options.scale)
    plan = StudyPlan(Composer(options.config_dir), study, options.overrides)
    if plan.variant():
        raise ConfigError(f"{plan.variant()}: makes another table of study {study.name}; submit to the study as it is")
    said = read_submission(options.metadata or options.file.with_suffix(".json"))
    column = study.column(options.column)
    _check_place(study, options.row, said)
    composed, source, drawn = _find_split(plan, study, column, said)
    _check_sight(said, drawn)
    label = {"study": study.name, "scale": study.scale, "row": options.row, "column": column}
    made, predictions = _record(options.file, said, label, composed, source, drawn)
    folder = composed.paths.outputs / EXTERNAL_FOLDER / made["run"]
    if (folder / RECORD_NAME).is_file():
        print(f"submitted already: {folder / RECORD_NAME}")
        return 0
    _refuse_second(composed.paths.outputs, made)
    from trigan.atomic import write_bytes

    write_bytes(folder / "predictions.npz", predictions)
    write_record(folder / RECORD_NAME, made)
    test = made["result"]["test"]
    print(f"{options.row} ({EXTERNAL}), {column}, trial {said.trial}: test accuracy {100 * test['accuracy']:.2f} %")
    print(folder / RECORD_NAME)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="trigan submit",
        description="Score another program's predictions for a study's split, and show them as a row of its table.",
        epilog="The files: docs/submit.md. example: trigan submit mine-0.npz --study demo --row 'my method'",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the predictions, .npz or .csv")
    parser.add_argument("overrides", nargs="*", help="where things lie: data.root=..., paths.outputs=...")
    parser.add_argument("--study", required=True, metavar="NAME", help="the study whose table gets the row")
    parser.add_argument("--row", required=True, metavar="NAME", help="the row's name, the same in all its trials")
    parser.add_argument("--column", metavar="NAME", help="the study's column (needed if it has several)")
    parser.add_argument("--scale", help="one of the study's scales (default: its first)")
    parser.add_argument(
        "--metadata", type=Path, metavar="FILE", help="what the method saw (default: beside FILE, .json)"
    )
    parser.add_argument("--config-dir", type=Path, help="a folder with groups of your own")
    return parser


def _check_place(study: StudyFile, row: str, said: Submission) -> None:
    if not row.strip():
        raise ConfigError("--row is empty; give the row's name")
    if row in {line.name for line in study.rows}:
        raise ConfigError(f"--row {row!r} is a row of study {study.name} itself; choose another name")
    if said.trial not in study.trials:
        known = ", ".join(map(str, study.trials))
        raise ConfigError(f"trial {said.trial} is not one of study {study.name}'s: {known}")


def _find_split(
    plan: StudyPlan, study: StudyFile, column: str, said: Submission
) -> "tuple[RunConfig, ImageDataset, DataSplit]":
    """The study's own split that the submission names: the test set, the labels and the rest as its rows see them."""
    from trigan.data.splits.split_file import split_file_content
    from trigan.identity import canonical_json

    runs = {
        canonical_json([run.config["data"], run.config["regime"]]): run
        for run in plan.runs(column, said.trial).values()
    }
    known = []
    for composed in runs.values():
        source, drawn = data_and_split(composed)
        known.append(drawn.split_file_digest or split_file_content(source, drawn, {}, None)["digest"])
        if known[-1] == said.split:
            return composed, source, drawn
    raise ConfigError(
        f"split {said.split[:16]} is none of study {study.name}'s for column {column!r}, trial {said.trial} "
        f"({', '.join(digest[:16] for digest in known)}); `trigan splits export --study {study.name}` writes that"
    )


def _check_sight(said: Submission, drawn: "DataSplit") -> None:
    """What is said to be seen is in the split: all else is other data, X."""
    data_used, sizes = said.data_used, {name: len(rows) for name, rows in drawn.parts.items()}
    labels = sizes["labelled"] + sizes["validation"]
    images = labels + sizes["unlabelled"]
    if data_used["L"] + data_used["V"] > labels:
        raise ConfigError(
            f"data_used: L + V is {data_used['L'] + data_used['V']}, and the split has {labels} labels; more would be X"
        )
    if data_used["L"] + data_used["V"] + data_used["U"] > images:
        raise ConfigError(f"data_used: L + V + U is above the {images} training images of the split; more would be X")


def _record(
    file: Path, said: Submission, label: dict[str, Any], composed: RunConfig, source: "ImageDataset", drawn: "DataSplit"
) -> tuple[Record, bytes]:
    """The record, and the predictions as a run keeps them."""
    import torch

    from trigan.data.predictions import read_predictions
    from trigan.evaluation.classification import classification_metrics
    from trigan.identity import digest, tensor_digest

    found = read_predictions(file, drawn.parts.test, len(source.class_names))
    scores = torch.from_numpy(found.scores)
    seal = tensor_digest(scores)
    test, spec = drawn.test.open(seal), drawn.view.spec
    about = {**label, **asdict(said)}
    run = digest({EXTERNAL: about, "data": source.fingerprint, "predictions": seal, "protocol": PROTOCOL_VERSION}, 20)
    result = {
        "status": "finished",
        "protocol": PROTOCOL_VERSION,
        "rule": said.rule,
        "data_used": said.data_used,
        "labels": {"training": said.data_used["L"], "selection": said.data_used["V"]},
        "test": classification_metrics(scores, test.labels, spec.classes, found.probabilistic),
        "weights": {},
        "predictions": seal,
        "cost": {"flops": said.flops, "images": said.images},
        "split": {**drawn.info.as_dict(), "n_test": len(test), "file": said.split},
        "stages": [],
        "stamps": sorted({*drawn.info.stamps, EXTERNAL}),
        "notes": {},
        "data": {"fingerprint": source.fingerprint, "classes": list(source.class_names), "spec": asdict(spec)},
    }
    groups = dict.fromkeys(("architecture", "loss", "strategy", "classifier"), EXTERNAL)
    repeat = {"trial": said.trial, "seed": said.seed, "study": label["study"], "row": label["row"]}
    made: Any = {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "config": {EXTERNAL: about, **{key: composed.config[key] for key in ("data", "regime")}, **repeat},
        "tags": {**{key: str(composed.choices[key]) for key in ("data", "regime")}, **groups, **repeat},
        "result": result,
        "provenance": _provenance(file),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=found.scores, labels=test.labels.numpy())
    return made, buffer.getvalue()


def _provenance(file: Path) -> dict[str, Any]:
    """No seconds, memory or host: nothing was run here."""
    return {
        EXTERNAL: True,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "versions": {"trigan": __version__},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _refuse_second(outputs: Path, made: Record) -> None:
    """One value a place: a second one would be averaged with the first, or chosen from."""
    for path, record in external_records(outputs):
        if submission_key(record) == submission_key(made):
            raise ConfigError(
                f"{path.parent} has other predictions for this row, column, trial and seed already; "
                "remove that folder first, or give another seed if it is another training"
            )

"""A small study with the files of its runs, for the tests of the report."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record_makers import make_record

from trigan.records.record import Record
from trigan.reports.report_data import ReportData
from trigan.tables.table import Family, TableSpec, build_table

ROWS = ("bare", "joint", "<b>short</b> & co")
COLUMNS = ("5 labels", "20 labels")
NAMES = ["zero", "one"]


def small_study(folder: Path, columns: tuple[str, ...] = COLUMNS, trials: int = 5) -> ReportData:
    """Three rows, of which one diverged in a trial and one lacks three trials; run folders with all their files."""
    places: dict[tuple[str, str], list[Record]] = {}
    for column in columns:
        for index, row in enumerate(ROWS):
            there = trials if index < 2 else 2
            places[row, column] = [_record(row, column, trial, index) for trial in range(there)]
    for group in places.values():
        for record in group:
            write_files(folder / record["run"], record)
    spec = TableSpec(
        "A <small> study",
        ROWS,
        columns,
        trials=tuple(range(trials)),
        reference="bare",
        family=Family(("joint",), ("bare",)),
    )
    words = (("Claim", "nothing is shown & nothing is hidden"), ("Question", "does it?"), ("Cost", ""))
    folders = {record["run"]: folder / record["run"] for group in places.values() for record in group}
    return ReportData(words, build_table(places, spec), folders)


def _record(row: str, column: str, trial: int, index: int) -> Record:
    budget = int(column.split()[0])
    joint = row == "joint"
    errors = (1, 3, 2)[index]
    confusion = [[8 + trial % 3, 2 - trial % 3], [errors, 10 - errors]]
    recall = [confusion[0][0] / 10, confusion[1][1] / 10]
    parts: dict[str, Any] = {
        "data_used": {"L": 2 * budget},
        "test": {"confusion": confusion, "recall": recall, "n": 20, "ece": 0.1},
        "cost": {"flops": 0 if row == ROWS[2] else 10 ** (9 + index)},
        "weights": {"classifier": f"{index}{trial}" * 32},
        "split": {"fingerprint": "f" * 64, "labelled": {"sha256": f"{trial}a" * 32}, "test": {"sha256": "cd" * 32}},
        "status": "diverged" if joint and trial == 1 else "finished",
    }
    config = {"regime": {"labels_per_class": budget}, "row": row, "paths": {"outputs": "somewhere"}}
    tags = {"row": row, "strategy": "joint" if joint else "baseline"}
    made = copy.deepcopy(make_record(sum(recall) / 2 + budget / 1000, trial, tags=tags, config=config, **parts))
    made["result"]["labels"]["training"] = 2 * budget
    made["result"]["data"] = {"classes": NAMES}  # type: ignore[typeddict-unknown-key]
    made["provenance"]["overrides"] = [f"regime.labels_per_class={budget}", "row='it is'"]
    return made


def write_files(folder: Path, record: Record) -> None:
    """The files of a run: curves, predictions and, for a joint run, sample grids."""
    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(record["tags"]["trial"])
    labels = np.repeat([0, 1], 10)
    scores = random.normal(size=(20, 2)) + 2 * np.eye(2)[labels]
    np.savez_compressed(folder / "predictions.npz", scores=scores.astype(np.float32), labels=labels)
    joint = record["tags"]["strategy"] == "joint"
    key = "gan/train/generator_loss" if joint else "classifier/train/loss"
    rows = [{"stage": key.partition("/")[0], "images": 64 * (i + 1), key: 1 / (i + 1)} for i in range(300)]
    if joint:
        rows[-1][key] = float("nan")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if joint:
        colours = np.stack([np.arange(64).reshape(8, 8)] * 3, axis=-1).astype(np.uint8) * [3, 2, 1]
        Image.fromarray(colours.astype(np.uint8)).save(folder / "pictures" / "samples-gan.png")
        grey = Image.fromarray(np.arange(128, dtype=np.uint8).reshape(8, 16))
        grey.save(folder / "pictures" / "samples-gan-over-training.png")

"""Predictions of another program: scored, kept once, shown in the study's table; or refused with nothing left."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss
from study_fixture import write_study

from trigan.commands.main import main
from trigan.datasets.sources.digits import Digits
from trigan.records.record import read_record
from trigan.records.seal_ledger import LEDGER_NAME, read_ledger
from trigan.studies.jobs import StudyJobs
from trigan.studies.run_study import write_study_table
from trigan.studies.study_file import read_study

STUDY = {
    "trials": [0, 2],
    "fixed": ["logger=none"],
    "columns": [{"name": "few", "set": ["regime.labels_per_class=3"]}, {"name": "more", "set": []}],
    "rows": [{"name": "baseline", "set": []}, {"name": "matched", "set": [], "match": "baseline"}],
    "scales": {"laptop": {}, "paper": {"set": ["regime.labels_per_class=50"]}},
}
KEPT = {"record.json", "predictions.npz", LEDGER_NAME, f"{LEDGER_NAME}.lock"}
ABOUT: dict[str, Any] = {
    "method": "a guess",
    "split": "split.json",
    "trial": 2,
    "data_used": {"L": 30, "U": 1228, "V": 0, "X": 0},
}
LABELS = Digits().load().labels.numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, with the split of its column `few` and trial 2."""
    folder = tmp_path_factory.mktemp("study")
    path = write_study(folder / "mine", STUDY)
    words = ["--study", str(path), "--column", "few", "--trial", "2", "--output", str(folder / "split.json")]
    assert main(["splits", "export", *words]) == 0
    return folder


@pytest.fixture
def study(exported: Path, tmp_path: Path) -> Path:
    shutil.copy(exported / "split.json", tmp_path)
    return exported / "mine" / "study.yaml"


def rows_of_test(tmp_path: Path) -> np.ndarray:
    found = json.loads((tmp_path / "split.json").read_text())
    return np.array(found["test"]["indices"])


def write(tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None] | None = None) -> Path:
    """Probabilities, mostly right, in mixed order, and what is said of them."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(rows_of_test(tmp_path))
    logits = rng.normal(size=(len(rows), 10)) + 3 * np.eye(10)[LABELS[rows]]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    arrays: dict[str, Any] = {"indices": rows, "probabilities": probabilities.astype(np.float32)}
    about = {**ABOUT, "data_used": dict(ABOUT["data_used"])}
    if change is not None:
        change(arrays, about)
    np.savez(tmp_path / "mine.npz", **arrays)
    (tmp_path / "mine.json").write_text(json.dumps(about))
    return tmp_path / "mine.npz"


def submit(file: Path, study: Path, *more: str) -> int:
    own = f"paths.outputs={file.parent / 'out'}"
    return main(["submit", str(file), own, "--study", str(study), "--row", "ours", "--column", "few", *more])


def left(tmp_path: Path) -> list[Path]:
    """Files that a command left, other than decoded images."""
    return [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.parent.name != "decoded"]


def test_a_submission_is_scored_and_kept_once(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path)
    assert submit(file, study) == 0
    path = Path(capsys.readouterr().out.strip().splitlines()[-1])
    record = read_record(path)
    with np.load(file) as arrays:
        rows, probabilities = arrays["indices"], arrays["probabilities"].astype(float)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    result: Any = record["result"]
    assert result["test"]["accuracy"] == accuracy_score(LABELS[rows], probabilities.argmax(1))
    assert result["test"]["nll"] == pytest.approx(log_loss(LABELS[rows], probabilities, labels=range(10)), rel=1e-5)
    assert result["cost"] == {"flops": None, "images": None}
    assert (result["rule"], result["stamps"]) == ("last", ["external"])
    assert result["split"]["test"]["sha256"] == json.loads((tmp_path / "split.json").read_text())["test"]["sha256"]
    assert record["tags"]["study"] == "mine"
    assert record["provenance"]["external"] is True
    assert submit(file, study) == 0
    assert "submitted already" in capsys.readouterr().out
    assert {one.name for one in left(tmp_path)} == KEPT
    assert [*map(len, read_ledger(tmp_path / "out" / "runs").values())] == [1]

    def worse(arrays: dict[str, Any], about: dict[str, Any]) -> None:
        arrays["probabilities"] = arrays["probabilities"][::-1]

    assert submit(write(tmp_path, worse), study) == 2
    assert "has other predictions for this row, column, trial and seed already" in capsys.readouterr().err
    assert {one.name for one in left(tmp_path)} == KEPT
    assert [*map(len, read_ledger(tmp_path / "out" / "runs").values())] == [1]


def test_the_study_shows_the_row(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit(write(tmp_path), study) == 0
    capsys.readouterr()
    jobs = StudyJobs((), (), tmp_path / "out", "", False)
    write_study_table(read_study(study), jobs)
    said = (jobs.folder(read_study(study)) / "table.md").read_text()
    line = next(line for line in said.splitlines() if line.startswith("| ours (external)"))
    assert "incomplete, 1 of 2" in line
    assert "| unknown | unknown |" in said
    assert "external: predictions of another program" in said
    write_study_table(read_study(study, "paper"), jobs)
    assert "ours" not in (jobs.folder(read_study(study, "paper")) / "table.md").read_text()


def test_classes_from_csv_with_a_digest(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of_test(tmp_path)
    lines = [f"{row},{LABELS[row] if row % 2 else 0}" for row in rows.tolist()]
    (tmp_path / "mine.csv").write_text("\n".join(["index,class", *lines]) + "\n")
    digest = json.loads((tmp_path / "split.json").read_text())["digest"]
    cost = {"flops": 10**9, "images": {"classifier": 640}}
    about = {**ABOUT, "split": digest, "cost": cost, "data_used": {"L": 20, "U": 0, "V": 10, "X": 60000}}
    (tmp_path / "said.json").write_text(json.dumps(about))
    assert submit(tmp_path / "mine.csv", study, "--metadata", str(tmp_path / "said.json")) == 0
    result = read_record(Path(capsys.readouterr().out.strip().splitlines()[-1]))["result"]
    assert result["test"]["accuracy"] == np.mean((rows % 2 == 1) | (LABELS[rows] == 0))
    assert "nll" not in result["test"]
    assert (result["cost"], result["rule"]) == (cost, "val")
    assert result["labels"] == {"training": 20, "selection": 10}


MISTAKES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], Any], str]] = {
    "missing image": (lambda a, s: [a.update({k: v[1:] for k, v in a.items()})], "1 of 539 test images are missing"),
    "more values": (
        lambda a, s: [a.pop("probabilities"), a.update(classes=np.zeros(542, int))],
        "539 indices, but predictions (542,); give one for each index",
    ),
    "strange image": (lambda a, s: a["indices"].__setitem__(0, 9999), "image 9999 is no test image of this split"),
    "not finite": (
        lambda a, s: a["probabilities"].__setitem__((3, 0), np.nan),
        "the probabilities of 1 images are not",
    ),
    "negative": (lambda a, s: a["probabilities"].__setitem__(3, [-1, 2] + [0] * 8), "the probabilities of 1 images"),
    "sum": (lambda a, s: a.update(probabilities=a["probabilities"] * 1.1), "the probabilities of 539 images"),
    "columns": (lambda a, s: a.update(probabilities=a["probabilities"][:, :9]), "must be numbers (539, 10)"),
    "class": (lambda a, s: [a.pop("probabilities"), a.update(classes=np.full(539, 10))], "classes lie in 10..10"),
    "kind": (lambda a, s: [a.pop("probabilities"), a.update(classes=np.ones(539))], "classes must be whole numbers"),
    "names": (
        lambda a, s: [a.pop("probabilities"), a.update(classes=np.full(539, "cat"))],
        "0 to 9 in the order of the split file's class names, not 'cat'",
    ),
    "both": (lambda a, s: a.update(classes=np.ones(539, int)), "either classes or probabilities"),
    "key": (lambda a, s: s.update(data_used_x=1), "data_used_x: no such key; nearest: data_used"),
    "data_used": (
        lambda a, s: s["data_used"].pop("X"),
        "data_used.X is missing: expected counts of images for L, U, V, X",
    ),
    "too many labels": (lambda a, s: s["data_used"].update(V=10), "L + V is 40, and the split has 30 labels"),
    "too many images": (lambda a, s: s["data_used"].update(U=1500), "above the 1258 training images of the split"),
    "free": (lambda a, s: s.update(cost={"flops": 0}), "cost.flops=0: expected a whole number above 0; leave it out"),
    "no player": (
        lambda a, s: s.update(cost={"images": {}}),
        "cost.images={}: expected images by player, each a whole number above 0; leave it out",
    ),
    "rule": (lambda a, s: s.update(rule="val"), "rule=val: expected last, or val beside a V above 0"),
    "split": (lambda a, s: s.update(split="0" * 64), "split 0000000000000000 is none of study mine's for column 'few'"),
    "trial": (lambda a, s: s.update(trial=1), "trial 1 is not one of study mine's: 0, 2"),
    "other trial": (lambda a, s: s.update(trial=0), "is none of study mine's for column 'few', trial 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_the_files(name: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change, line = MISTAKES[name]
    capsys.readouterr()
    assert submit(write(tmp_path, change), study) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not left(tmp_path)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--row", "baseline"], "--row 'baseline' is a row of study mine itself"),
        (["--column", "fwe"], "--column fwe: no such column; nearest: few"),
        (["--metadata", "none.json"], "none.json is missing; it states what the method used"),
        (["trainer.accumulate=2"], "makes another table of study mine"),
        (["--scale", "paper"], "is none of study mine's for column 'more'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_on_the_line(
    words: list[str], line: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [*words, *(["--column", "more"] if "--scale" in words else [])]
    capsys.readouterr()
    assert submit(write(tmp_path), study, *more) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not left(tmp_path)

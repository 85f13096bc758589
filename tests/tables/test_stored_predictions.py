"""Scores and intervals from the predictions that a run stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record_makers import make_record

from trigan.errors import ArtifactError
from trigan.evaluation.classification import classification_metrics
from trigan.records import file_index
from trigan.records.file_index import FileIndex
from trigan.records.record import EXTERNAL, Record
from trigan.scores import BY_RECALL, METRICS, RANKING, recall_scores
from trigan.tables import stored_predictions
from trigan.tables.cell import score_of
from trigan.tables.compare import compare
from trigan.tables.layout.text import render_csv, render_markdown
from trigan.tables.stored_predictions import (
    PREDICTIONS_FILE,
    StoredPredictions,
    indexed_interval,
    sampling_interval,
    score_of_resamples,
    with_ranking_scores,
)
from trigan.tables.table import table_data, table_intervals

IMAGES, CLASSES = 400, 3
#: Training labels of each class: many, a medium number, few.
COUNTS = [300, 50, 5]


def stored_run(folder: Path, groups: np.ndarray | None = None, wrong: float = 0.2, trial: int = 0) -> Record:
    """A record with the scores of its stored predictions; whole groups are right or wrong, where there are groups."""
    rng = np.random.default_rng(3 + trial)
    labels = rng.integers(CLASSES, size=IMAGES)
    unit = np.arange(IMAGES) if groups is None else groups
    mistaken = rng.random(unit.max() + 1)[unit] < wrong
    logits = rng.normal(size=(IMAGES, CLASSES)) + 6 * np.eye(CLASSES)[(labels + mistaken) % CLASSES]
    scores = logits.astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"scores": scores, "labels": labels, "rows": np.arange(IMAGES)}
    np.savez(folder / PREDICTIONS_FILE, **kept, **({} if groups is None else {"groups": groups}))
    test = _scored(scores, labels)
    return make_record(test["accuracy"], trial, test=test, split={"labelled": {"class_counts": COUNTS}})


def _scored(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All scores of a record."""
    test = classification_metrics(torch.from_numpy(scores), torch.from_numpy(labels), CLASSES, True, 0.9)
    return test | recall_scores(test["recall"], COUNTS)


def test_a_record_from_before_the_scores_by_recall_has_them_from_its_recalls(tmp_path: Path) -> None:
    record = stored_run(tmp_path)
    test = {key: value for key, value in record["result"]["test"].items() if key not in BY_RECALL}
    before: Record = {**record, "result": {**record["result"], "test": test}}  # type: ignore[typeddict-item]
    for name in BY_RECALL:
        assert score_of(before, METRICS[name]) == record["result"]["test"][name]  # type: ignore[literal-required]
    unknown: Record = {**before, "result": {**before["result"], "split": {**before["result"]["split"], "labelled": {}}}}  # type: ignore
    assert score_of(unknown, METRICS["few_shot"]) is None


def before_ranking(record: Record) -> Record:
    """The record as it was before the scores that rank images."""
    test = {key: value for key, value in record["result"]["test"].items() if key not in (*RANKING, "by_class")}
    del test["specificity"]
    return make_record(0.5, record["tags"]["trial"]) | {"result": {**record["result"], "test": test}}  # type: ignore


@pytest.mark.parametrize("metric", METRICS)
def test_weights_of_one_give_the_score_of_the_record(metric: str, tmp_path: Path) -> None:
    record, stored = stored_run(tmp_path), StoredPredictions.read(tmp_path)
    assert stored is not None
    found = score_of_resamples(record, metric, stored, np.ones((2, IMAGES)))
    assert found.tolist() == pytest.approx([record["result"]["test"][metric]] * 2, abs=1e-12)  # type: ignore


@pytest.mark.parametrize("metric", METRICS)
def test_resampled_scores_are_those_of_the_resampled_images(metric: str, tmp_path: Path) -> None:
    record, stored = stored_run(tmp_path), StoredPredictions.read(tmp_path)
    assert stored is not None
    again = np.random.default_rng(0).integers(IMAGES, size=IMAGES)
    (found,) = score_of_resamples(record, metric, stored, np.bincount(again, minlength=IMAGES)[None])
    expected = _scored(stored.scores[again], stored.labels[again])[metric]
    assert found == pytest.approx(expected, abs=1e-12)


def test_an_interval_has_the_width_of_binomial_sampling_and_is_the_same_again(tmp_path: Path) -> None:
    record = stored_run(tmp_path)
    found = sampling_interval(record, "accuracy", tmp_path)
    assert found is not None
    p = record["result"]["test"]["accuracy"]
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * (p * (1 - p) / IMAGES) ** 0.5, rel=0.1)
    assert found.low < p < found.high
    assert found.units == "400 images"
    assert sampling_interval(record, "accuracy", tmp_path) == found


def test_an_index_keeps_intervals_and_computes_those_of_changed_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "_MIN_ENTRIES", 1)
    monkeypatch.setattr(file_index, "_SETTLED_NS", 0)
    folder = tmp_path / "one"

    def intervals(record: Record) -> list[Any]:
        with FileIndex(tmp_path) as index:
            return [indexed_interval(record, metric, folder, index) for metric in ("accuracy", "sensitivity")]

    for wrong in (0.2, 0.4):
        record = stored_run(folder, wrong=wrong)
        direct = [sampling_interval(record, metric, folder) for metric in ("accuracy", "sensitivity")]
        assert intervals(record) == direct
        with monkeypatch.context() as patch:
            patch.setattr(stored_predictions, "sampling_interval", lambda *arguments: pytest.fail("computed again"))
            assert intervals(record) == direct
    assert indexed_interval(record, "accuracy", tmp_path / "elsewhere", FileIndex(tmp_path)) is None


def test_groups_are_resampled_whole(tmp_path: Path) -> None:
    """Ten alike images a group are worth one: the interval is about sqrt(10) times as wide as that of images."""
    groups = np.arange(IMAGES) // 10
    record = stored_run(tmp_path / "groups", groups)
    grouped = sampling_interval(record, "accuracy", tmp_path / "groups")
    with np.load(tmp_path / "groups" / PREDICTIONS_FILE) as file:
        kept = {name: file[name] for name in ("scores", "labels", "rows")}
    (tmp_path / "images").mkdir()
    np.savez(tmp_path / "images" / PREDICTIONS_FILE, **kept)
    single = sampling_interval(record, "accuracy", tmp_path / "images")
    assert grouped is not None
    assert single is not None
    assert (grouped.high - grouped.low) / (single.high - single.low) == pytest.approx(10**0.5, rel=0.25)
    assert grouped.units == "400 images in 40 groups"


def test_there_is_no_interval_where_no_resample_differs(tmp_path: Path) -> None:
    assert sampling_interval(stored_run(tmp_path / "right", wrong=0.0), "accuracy", tmp_path / "right") is None
    one = stored_run(tmp_path / "one", np.zeros(IMAGES, dtype=np.int64))
    assert sampling_interval(one, "auroc", tmp_path / "one") is None
    assert sampling_interval(one, "accuracy", tmp_path / "elsewhere") is None


def test_an_older_record_gets_its_scores_from_its_predictions(tmp_path: Path) -> None:
    record = stored_run(tmp_path)
    old = before_ranking(record)
    assert "auroc" not in old["result"]["test"]
    filled = with_ranking_scores(old, tmp_path, "auroc")
    assert filled["result"]["test"]["auroc"] == record["result"]["test"]["auroc"]
    assert filled["result"]["test"]["specificity"] == 0.95
    assert "auroc" not in old["result"]["test"], "the record itself is not changed"
    assert with_ranking_scores(old, tmp_path, "accuracy") is old
    assert with_ranking_scores(old, tmp_path / "elsewhere", "auroc") is old
    del old["result"]["test"]["nll"]
    old["result"]["stamps"] = [EXTERNAL]
    assert with_ranking_scores(old, tmp_path, "auroc") is old, "submitted classes rank no images"


def test_a_table_says_what_is_not_in_the_record_and_what_is_not_defined(tmp_path: Path) -> None:
    old = [before_ranking(stored_run(tmp_path / str(trial), trial=trial)) for trial in range(2)]
    assert "| baseline | not in the record |" in render_markdown(compare(old, "auroc"))
    one_class = [make_record(0.9, trial, test={"auroc": None}) for trial in range(2)]
    assert "| baseline | not defined |" in render_markdown(compare(one_class, "auroc"))


def test_a_table_shows_the_score_its_unit_and_its_interval(tmp_path: Path) -> None:
    records = [stored_run(tmp_path / str(trial), trial=trial) for trial in range(2)]
    folders = {record["run"]: tmp_path / str(record["tags"]["trial"]) for record in records}
    table = compare(records, "sensitivity")
    assert table.metric.label == "sensitivity at 90 % specificity"
    shown = render_markdown(
        type(table)(table.spec, table.cells, sampling=table_intervals(table, folders, FileIndex(tmp_path)))
    )
    values = [100 * record["result"]["test"]["sensitivity"] for record in records]  # type: ignore
    ends = [table_intervals(table, folders, FileIndex(tmp_path))[record["run"]] for record in records]
    for value, one in zip(values, ends, strict=True):
        assert f"{value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]" in shown
    assert "test sensitivity at 90 % specificity, %" in shown
    assert "1000 bootstrap resamples of the test set (400 images)" in shown
    assert [row["trial 1"] for row in table_data(table)] == [records[1]["result"]["test"]["sensitivity"]]
    assert "sensitivity" in render_csv(table)


def test_a_table_names_the_groups_of_its_images() -> None:
    counts = {"all": 364, "labelled": 16, "validation": 5, "unlabelled": 271, "test": 72, "left_out": 226}
    config = {"data": {"source": {"columns": {"group": "slide"}}}}
    records = [
        make_record(0.9, trial, config=config, split={"groups": {**counts, "labelled": 16 + trial}})
        for trial in range(2)
    ]
    words = (
        "364 groups of images (slide), each in one part of a split: 16 to 17 labelled, 5 for validation, 271 unlabelled"
    )
    assert words in render_markdown(compare(records))
    assert "groups of images" not in render_markdown(compare([make_record(0.9)]))


@pytest.mark.parametrize("arrays", [{"scores": np.zeros((3, 2))}, {"scores": np.zeros((3, 2)), "labels": np.zeros(2)}])
def test_a_damaged_file_is_named(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / PREDICTIONS_FILE, **arrays)
    with pytest.raises(ArtifactError, match=r"cannot be read .*--force"):
        StoredPredictions.read(tmp_path)

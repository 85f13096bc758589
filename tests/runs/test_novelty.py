"""Runs with held-out classes: from the command to the record and a table."""

from pathlib import Path
from typing import Any

import pytest
from few_steps import composer, small

from trigan.errors import ConfigError
from trigan.interop.split_export import export_split
from trigan.records.record import read_record
from trigan.runs.finished_run import open_run
from trigan.runs.run import run
from trigan.scores import NOVELTY_SCORES
from trigan.tables.table import TableSpec, build_table

OF_LOGITS = ["max_softmax", "max_logit", "energy"]
OF_FEATURES = [*OF_LOGITS, "mahalanobis", "nearest_neighbours"]
HELD_OUT = ["regime.labels_per_class=5", "regime.held_out_classes=[8,9]"]


def _record(folder: Path, *words: str) -> tuple[Path, Any]:
    directory = run(composer().compose(small(*words, *HELD_OUT, f"paths.outputs={folder}")))
    return directory, read_record(directory / "record.json")


@pytest.mark.parametrize(
    ("strategy", "scores"),
    [
        (["strategy=baseline"], OF_FEATURES),
        (["strategy=augment"], list(NOVELTY_SCORES)),
        (["strategy=joint", "architecture=cgan", "strategy.objective=triple_gan"], list(NOVELTY_SCORES)),
        (["strategy=features"], None),
    ],
    ids=lambda case: " ".join(case) if case and "=" in case[0] else "",
)
def test_a_run_has_the_scores_that_its_networks_allow(
    strategy: list[str], scores: list[str] | None, tmp_path: Path
) -> None:
    directory, record = _record(tmp_path, *strategy)
    result = record["result"]
    found = result["novelty"]
    assert found["classes"] == ["8", "9"]
    assert result["data"]["classes"] == list("01234567")
    assert result["data"]["spec"]["classes"] == 8
    assert (found["images"], found["known"]) == (
        result["split"]["held_out"]["images"]["size"],
        result["split"]["n_test"],
    )
    if scores is not None:
        assert sorted(found["scores"]) == sorted(scores)
    assert all(0.0 <= one[key] <= 1.0 for one in found["scores"].values() for key in ("auroc", "fpr"))
    assert open_run(directory, tmp_path).classifier is not None


def test_unlabelled_images_of_the_classes_are_used_by_a_setting_alone(tmp_path: Path) -> None:
    words = ["strategy=baseline", "strategy.unlabelled=fixmatch"]
    without, within = (
        _record(tmp_path, *words, f"regime.held_out_in_pool={value}")[1]["result"] for value in ("false", "true")
    )
    assert within["data_used"]["U"] > without["data_used"]["U"]
    assert "novel-in-pool" in within["stamps"]
    assert "novel-in-pool" not in without["stamps"]


def test_a_table_shows_a_score(tmp_path: Path) -> None:
    _, record = _record(tmp_path, "strategy=baseline")
    spec = TableSpec("T", ("a",), ("c",), metric="novelty_auroc_energy")
    cell = build_table({("a", "c"): [record]}, spec).cells["a", "c"]
    assert cell.summary is not None
    assert cell.summary.mean == record["result"]["novelty"]["scores"]["energy"]["auroc"]


def test_without_held_out_classes_a_record_has_no_block(tmp_path: Path) -> None:
    directory = run(composer().compose(small("strategy=baseline", f"paths.outputs={tmp_path}")))
    result: Any = read_record(directory / "record.json")["result"]
    assert "novelty" not in result
    assert "held_out" not in result["split"]


def test_a_split_with_held_out_classes_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^regime.held_out_classes: a split file has all classes of its data"):
        export_split(composer().compose(small("strategy=baseline", *HELD_OUT)), tmp_path / "split.json")

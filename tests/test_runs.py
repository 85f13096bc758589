"""One run, from the command to its record: the whole of it, idempotent, and the test set opened once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from few_steps import small

from trigan.artifacts.store import Store
from trigan.commands.main import main
from trigan.datasets.splits.sealed_test import SealedTest
from trigan.runs import run as room
from trigan.scores import METRICS, ranking_scores

JOINT = [word for word in small("strategy=joint", "regime.validation=large") if word != "callbacks=quiet"]


def words(outputs: Path, *more: str) -> list[str]:
    return ["run", f"paths.outputs={outputs}", *JOINT, *more]


def go(outputs: Path, *more: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """Run the command in this process; its directory is what it prints."""
    assert main(words(outputs, *more)) == 0
    return Path(capsys.readouterr().out.strip())


def record(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "record.json").read_text())
    return found


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(files)}


@pytest.fixture
def finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    return go(tmp_path / "debug", capsys=capsys)


#: With the architectures that they are played with.
OBJECTIVES = {
    **dict.fromkeys(("triple_gan", "acgan", "ec_gan"), "cgan"),
    **dict.fromkeys(("bad_gan", "shared_network"), "dcgan"),
}


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seeds_give_the_same_result(
    objective: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two stores that know nothing of each other; the consistency term draws, too."""
    game = f"strategy/objective={objective}", f"architecture={OBJECTIVES[objective]}", "strategy/consistency=pi_model"
    results = [record(go(tmp_path / name / "debug", *game, capsys=capsys))["result"] for name in ("one", "other")]
    assert results[0] == results[1]
    assert set(results[0]["weights"]) >= {"classifier", "generator"}
    assert all(count > 0 for count in results[0]["cost"]["images"].values())


def test_a_run_leaves_what_is_promised(finished: Path) -> None:
    found = record(finished)
    result = found["result"]
    assert result["status"] == "finished"
    assert result["rule"] == "val"
    assert set(result["weights"]) == {"classifier", "generator"}
    assert all(len(value) == 64 for value in result["weights"].values())
    for part in ("test", "validation"):
        assert 0 <= result[part]["accuracy"] <= 1
        assert {*METRICS, "recall", "confusion", "specificity", "by_class"} <= set(result[part])
    with np.load(finished / "predictions.npz") as stored:
        again = ranking_scores(stored["scores"], stored["labels"], probabilistic=True)
    assert {key: result["test"][key] for key in again} == again
    assert sum(map(sum, result["test"]["confusion"])) == result["split"]["n_test"]
    assert all(result["data_used"][part] > 0 for part in "LUV")
    assert result["cost"]["flops"] > 0
    assert set(result["cost"]["images"]) == {"classifier", "generator"}
    provenance = found["provenance"]
    assert {"versions", "host", "seconds", "commit"} <= set(provenance)
    assert 0 < provenance["training_seconds"] < provenance["seconds"]
    assert provenance["wandb_id"] is None
    for name in ("config.yaml", "metrics.jsonl", "predictions.npz", "features.npz", "weights/classifier.safetensors"):
        assert (finished / name).stat().st_size > 0, name
    names = {path.name for path in (finished / "pictures").iterdir()}
    assert names == {
        "confusion.png",
        "features.png",
        "losses.png",
        "samples-joint.png",
        "samples-joint-over-training.png",
    }


def test_the_same_command_again_returns_the_finished_result(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*given: object) -> None:
        raise AssertionError("it was run again")

    before = contents(finished)
    monkeypatch.setattr(room, "_execute", work)
    assert go(tmp_path / "debug", capsys=capsys) == finished
    assert contents(finished) == before


def test_force_computes_it_anew_and_gets_the_same(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, stages = record(finished), stages_of(tmp_path)
    written = (finished / "record.json").stat().st_mtime_ns
    assert go(tmp_path / "debug", "--force", capsys=capsys) == finished
    after = record(finished)
    assert after["result"] == before["result"]
    assert (finished / "record.json").stat().st_mtime_ns > written
    trained_again = stages_of(tmp_path)
    assert trained_again.keys() == stages.keys()
    assert all(trained_again[path] > stages[path] for path in stages)


def test_force_leaves_no_old_number(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does a record that cannot be read stand in its way, which without it is one line."""
    assert go(tmp_path / "debug", "--force", "logger=csv", capsys=capsys) == finished
    curves = without_speed(finished)
    (finished / "metrics.csv").write_text("\n".join(curves).replace("joint,", "old,"))
    (finished / "wandb").mkdir()
    (finished / "wandb" / "axis.json").write_text('{"joint": 99999}')
    (finished / "record.json").write_text("{")
    assert main(words(tmp_path / "debug")) == 3
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("trigan: ")]
    assert f"{finished}/record.json: not JSON" in line
    assert "--force" in line
    trained = stages_of(tmp_path)
    assert go(tmp_path / "debug", "--force", "logger=csv", capsys=capsys) == finished
    assert without_speed(finished) == curves
    assert not (finished / "wandb" / "axis.json").exists()
    assert all(stages_of(tmp_path)[path] > trained[path] for path in trained)


def test_curves_are_told_in_order_whoever_trained_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["run", f"paths.outputs={tmp_path}", *small("strategy=augment"), "logger=csv"]
    assert main(chosen) == 0
    directory = Path(capsys.readouterr().out.strip())
    curves = without_speed(directory)
    (last,) = (one["hash"] for one in record(directory)["result"]["stages"] if one["name"] == "classifier")
    Store(tmp_path / "artifacts").discard(last)
    shutil.rmtree(directory)
    assert main(chosen) == 0
    assert without_speed(directory) == curves


def without_speed(directory: Path) -> list[str]:
    """The lines of the curves that do not depend on the clock."""
    return [line for line in (directory / "metrics.csv").read_text().splitlines() if ",speed/" not in line]


def stages_of(outputs: Path) -> dict[str, int]:
    found = {str(path): path.stat().st_mtime_ns for path in outputs.rglob("manifest.json")}
    assert found
    return found


def test_the_seal_is_broken_once_and_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    before = SealedTest.open

    def counted(self: SealedTest, frozen: str) -> Any:
        assert stages_of(tmp_path), "the stages were not finished when the test set was opened"
        opened.append(frozen)
        return before(self, frozen)

    monkeypatch.setattr(SealedTest, "open", counted)
    directory = go(tmp_path / "debug", capsys=capsys)
    assert len(opened) == 2, "once for the images, and once for the labels when the scores are known"
    assert len(set(opened)) == 1
    go(tmp_path / "debug", capsys=capsys)
    assert len(opened) == 2, "a finished run was asked for again"
    assert record(directory)["result"]["status"] == "finished"


@pytest.mark.parametrize("strategy", ["baseline", "augment", "joint"])
def test_snapshots_give_a_curve_on_hidden_labels_or_with_a_stamp_on_the_test_set(
    strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They change nothing else in the result, and are frozen before the seal is broken."""
    source = ("strategy.source=labelled", "strategy.label_threshold=0") if strategy == "augment" else ()
    chosen = ["run", *small(f"strategy={strategy}", *source, f"paths.outputs={tmp_path}")]
    assert main(chosen) == 0
    without = record(Path(capsys.readouterr().out.strip()))["result"]
    cases = [((), "hidden_labels"), ((), "hidden_labels"), (("selection.curve=test",), "test")]
    for more, images in cases:  # the second time, the stages come from the store
        assert main([*chosen, "selection.snapshots=2", *more]) == 0
        directory = Path(capsys.readouterr().out.strip())
        result = record(directory)["result"]
        curve, stamps = result.pop("curve"), result.pop("stamps")
        shutil.rmtree(directory)
        assert result.pop("curve_images") == images
        assert stamps == [*without["stamps"], "curve-on-test" if images == "test" else "curve-on-hidden-labels"]
        assert [point["images"] for point in curve] == [64, 128]
        assert (curve[-1]["accuracy"] == result["test"]["accuracy"]) == (images == "test")
        assert curve[-1]["weights"] == result["weights"]["classifier"] != curve[0]["weights"]
        assert {**without, "stamps": None} == {**result, "stages": without["stages"], "stamps": None}


def test_a_curve_without_images_is_refused_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    all_labels = ("regime.labels_per_class=null", "regime.fraction=1.0", "regime.validation=none")
    assert main(["run", *small("strategy=baseline", *all_labels), "selection.snapshots=2"]) == 2
    assert "selection.snapshots=2: this regime hides no label and has no validation labels" in capsys.readouterr().err


def test_validation_images_carry_the_curve_where_there_are_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last point is then the run's own validation score."""
    chosen = small("strategy=baseline", f"paths.outputs={tmp_path}", "regime.validation=within", "selection.rule=val")
    assert main(["run", *chosen, "selection.snapshots=1", "selection.candidates=1"]) == 0
    result = record(Path(capsys.readouterr().out.strip()))["result"]
    assert (result["curve_images"], result["stamps"]) == ("validation", [])
    assert result["curve"][-1]["accuracy"] == result["validation"]["accuracy"]


def test_what_has_no_single_fit_takes_no_snapshots(capsys: pytest.CaptureFixture[str]) -> None:
    for chosen, said in (
        (["strategy=features"], "selection.snapshots=2: strategy=features fits no classifier on images over time"),
        (
            ["strategy=baseline", "strategy.matched_flops=1e9", "strategy.matched_by=ensemble"],
            "selection.snapshots: strategy.matched_by=ensemble has several fits",
        ),
    ):
        assert main(["run", *small(*chosen), "selection.snapshots=2"]) == 2
        assert said in capsys.readouterr().err


def test_a_debug_run_is_kept_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "work").mkdir()
    place = os.getcwd()
    os.chdir(tmp_path / "work")
    try:
        assert main(["run", *small("strategy=baseline")]) == 0
        directory = Path(capsys.readouterr().out.strip())
        assert directory.is_relative_to(tmp_path / "work" / "outputs" / "debug" / "runs")
        assert main(["compare"]) == 2
        assert capsys.readouterr().err == "trigan: outputs/runs: there is no finished run to compare\n"
    finally:
        os.chdir(place)


def test_a_debug_run_enters_no_table_wherever_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = go(tmp_path, capsys=capsys)
    assert directory.parent == tmp_path / "runs"
    assert main(["compare", "--outputs", str(tmp_path)]) == 2
    assert "no finished run to compare; debug runs enter no table, 1 left out\n" in capsys.readouterr().err


def test_two_processes_at_the_same_run_do_its_work_once(tmp_path: Path) -> None:
    """Started together, one waits for the other and returns what it finds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "trigan", *words(tmp_path / "debug")]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    worked = [("test accuracy" in errors, "this run is finished" in errors) for _, errors in said]
    assert sorted(worked) == [(False, True), (True, False)]

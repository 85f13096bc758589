"""A whole run with W&B offline, read back: the promised keys, the same for every strategy, and no other result."""

import json
from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from offline import history, inspect, records, runs

from trigan.cli.main import main

pytestmark = pytest.mark.usefixtures("logged_out")


def go(outputs: Path, capsys: pytest.CaptureFixture[str], logger: str, *words: str) -> Path:
    chosen = [word for word in small(*words) if word not in ("logger=none", "callbacks=quiet")]
    assert main(["run", f"paths.outputs={outputs}", f"logger={logger}", *chosen]) == 0
    return Path(capsys.readouterr().out.strip())


def result(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "record.json").read_text())["result"]
    return found


def test_the_run_in_wandb_is_the_run_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = ("strategy=joint", "strategy.objective=pseudo_label")
    joint = go(tmp_path / "debug", capsys, "wandb", *three, "trial=2")
    (run,) = runs(joint)
    told, on_disk = json.loads(inspect(run, "--summary")), result(joint)
    assert told["run_id"] == joint.name
    assert (told["name"], told["state"]) == ("joint #2", "finished")
    assert told["config"] == json.loads((joint / "record.json").read_text())["config"]
    assert {"architecture:dcgan", "trial:2"} <= set(told["tags"])
    assert [(record["run_group"], record["job_type"]) for record in records(run, "run")] == [
        ("digits-default", "joint")
    ]
    summary = told["summary"]
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece"):
        assert summary[f"final/test/{key}"] == on_disk["test"][key]
    for name, value in zip(on_disk["data"]["classes"], on_disk["test"]["recall"], strict=True):
        assert summary[f"final/test/recall/{name}"] == value
    assert summary["cost/flops"] == on_disk["cost"]["flops"]
    assert summary["status"] == "finished"

    logged = history(run)
    images = [row["images"] for row in logged]
    assert images == sorted(images), "the x-axis goes backwards"
    curves = [json.loads(line) for line in (joint / "metrics.jsonl").read_text().splitlines()]
    losses = {key for row in curves for key in row if key.endswith("loss")}
    assert {key.split("/")[-1] for key in losses} >= {f"{player}_loss" for player in on_disk["weights"]}
    for key in losses:
        assert [row[key] for row in logged if key in row] == [row[key] for row in curves if key in row]
    assert any("joint/samples._type" in row for row in logged)
    assert (run / "files" / "record.json").read_bytes() == (joint / "record.json").read_bytes()
    assert [file["path"] for record in records(run, "files") for file in record["files"]][-1] == "record.json"

    baseline = go(tmp_path / "debug", capsys, "wandb", "strategy=baseline", "trial=2")
    (other,) = runs(baseline)
    assert set(json.loads(inspect(other, "--summary"))["summary"]) == set(summary)


def test_no_logger_changes_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor where the run lies: its hash is the same."""
    left = [go(tmp_path / name / "debug", capsys, name, "strategy=joint") for name in ("wandb", "csv", "none")]
    assert len({directory.name for directory in left}) == 1
    first, *others = (json.dumps(result(directory)) for directory in left)
    assert others == [first, first]
    assert not runs(left[2])
    assert (left[1] / "metrics.csv").exists()

"""A whole run with W&B offline, read back: the promised keys, the same for every strategy, and no other result."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from few_steps import small
from offline import history, inspect, records, runs
from wandb_kept import Run
from wandb_server import WandbServer

from trigan.commands.main import main

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


def online(outputs: Path, capsys: pytest.CaptureFixture[str], server: WandbServer, *words: str) -> tuple[Path, Run]:
    directory = go(outputs, capsys, "wandb", *words)
    assert server.unknown == []
    return directory, server.runs[directory.name]


def test_strategies_compare_online(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wandb_server: WandbServer
) -> None:
    """The same summary keys, one axis that only goes on, configs as in the records, GAN -> samples -> classifier."""
    augment = ("strategy=augment", "architecture=cgan")
    first, run = online(tmp_path / "debug", capsys, wandb_server, *augment)
    images = [row["images"] for row in run.history]
    assert images == sorted(images)
    assert images[-1] > 0
    assert run.config == json.loads((first / "record.json").read_text())["config"]
    assert wandb_server.file(run.id, "record.json") == (first / "record.json").read_bytes()
    bars = run.summary["final/test/per_class_table"]
    shown = json.loads(wandb_server.file(run.id, bars["path"]))
    assert shown["data"] == [[str(digit), result(first)["test"]["recall"][digit]] for digit in range(10)]
    made = {artifact.type: artifact for artifact in wandb_server.artifacts if artifact.created_by == run.id}
    assert {"gan", "samples", "classifier"} <= set(made)
    assert [made[kind].used_by for kind in ("gan", "samples", "classifier")] == [[run.id], [run.id], []]
    stages = {stage["name"]: stage["hash"][:12] for stage in result(first)["stages"]}
    assert made["gan"].name == f"gan-{stages['gan']}"
    assert made["classifier"].name == f"classifier-{stages['classifier']}"

    _, other = online(tmp_path / "debug", capsys, wandb_server, *augment, "strategy.samples.weight=0.25")
    assert set(other.summary) == set(run.summary)
    assert made["gan"].used_by == [run.id, other.id]
    assert len(wandb_server.named(made["gan"].name)) == 1, "a stage that was found is used, not logged anew"
    _, baseline = online(tmp_path / "debug", capsys, wandb_server, "strategy=baseline")
    assert set(baseline.summary) == set(run.summary)


@pytest.mark.slow
def test_every_strategy_has_the_same_keys_and_a_descent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wandb_server: WandbServer
) -> None:
    keys = set()
    for strategy in ("baseline", "augment", "features", "joint"):
        _, run = online(tmp_path / "debug", capsys, wandb_server, f"strategy={strategy}")
        keys.add(frozenset(run.summary))
        logged = [one for one in wandb_server.artifacts if run.id in one.logged_by and one.type != "run_table"]
        assert [one.type for one in logged if run.id not in one.used_by] in (["classifier"], ["joint"])
    assert len(keys) == 1


@pytest.mark.slow
def test_a_run_that_is_stopped_and_goes_on_is_one(tmp_path: Path, wandb_server: WandbServer) -> None:
    """SIGTERM after some steps; nothing twice, and what an undisturbed run says."""
    steps = ["debug=fast", "debug.max_steps=400", "trainer.checkpoint_every=40", "classifier.width=8"]

    def start(outputs: Path) -> subprocess.Popen[bytes]:
        words = ["run", f"paths.outputs={outputs}", "strategy=baseline", "logger=wandb", "callbacks=quiet", *steps]
        return subprocess.Popen([sys.executable, "-m", "trigan", *words])

    process = start(tmp_path / "debug")
    until = time.monotonic() + 240
    while not wandb_server.runs and time.monotonic() < until:
        time.sleep(0.02)
    (name,) = wandb_server.runs
    wandb_server.wait_for(name, 3, 150)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 143
    told = len(wandb_server.runs[name].history)
    assert start(tmp_path / "debug").wait(200) == 0
    (run,) = wandb_server.runs.values()
    assert len(run.history) > told
    stopped = [plain(row) for row in run.history]
    wandb_server.runs.clear()
    assert start(tmp_path / "other").wait(200) == 0
    (run,) = wandb_server.runs.values()
    assert run.id == name
    assert stopped == [plain(row) for row in run.history]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without what W&B draws a new name for."""
    return {key: value for key, value in row.items() if not isinstance(value, dict)}

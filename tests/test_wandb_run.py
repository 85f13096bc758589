"""A whole run with W&B: the documented keys, the same for every strategy, and an unchanged result."""

import importlib.util
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
from trigan.component_ids import with_identifiers
from trigan.runs.tracked_run import ShowStage
from trigan.scores import METRICS
from trigan.training.players import PlayersModule

pytestmark = pytest.mark.usefixtures("logged_out")


def run_and_find(outputs: Path, capsys: pytest.CaptureFixture[str], logger: str, *words: str) -> Path:
    assert main(["run", f"paths.outputs={outputs}", f"logger={logger}", *without_quiet(*words)]) == 0
    return Path(capsys.readouterr().out.strip())


def without_quiet(*words: str) -> list[str]:
    return [word for word in small(*words) if word not in ("logger=none", "callbacks=quiet")]


def result(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "record.json").read_text())["result"]
    return found


def test_the_run_in_wandb_is_the_run_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = ("strategy=joint", "strategy.objective=pseudo_label")
    joint = run_and_find(tmp_path / "debug", capsys, "wandb", *three, "trial=2")
    (run,) = runs(joint)
    sent, on_disk = json.loads(inspect(run, "--summary")), result(joint)
    assert sent["run_id"] == joint.name
    assert (sent["name"], sent["state"]) == ("digits 10/class joint #2", "finished")
    choices = sent["config"].pop("choices")
    assert {
        "data": "digits",
        "labels": "10/class",
        "architecture": "dcgan",
        "strategy": "joint",
    }.items() <= choices.items()
    assert choices["strategy_objective"] == "pseudo_label"
    assert with_identifiers(sent["config"]) == json.loads((joint / "record.json").read_text())["config"]
    assert {"data:digits", "labels:10/class", "architecture:dcgan", "trial:2"} <= set(sent["tags"])
    assert [(record["run_group"], record["job_type"]) for record in records(run, "run")] == [
        ("digits 10/class/joint", "joint")
    ]
    summary = sent["summary"]
    for key in METRICS:
        assert summary.get(f"final/test/{key}") == on_disk["test"][key]  # W&B leaves out what is not defined
    for name, value in zip(on_disk["data"]["classes"], on_disk["test"]["recall"], strict=True):
        assert summary[f"final/test/recall/{name}"] == value
    assert summary["cost/flops"] == on_disk["cost"]["flops"]
    assert (summary["status"], summary["selection/rule"]) == ("finished", on_disk["rule"])
    assert summary["selection/step"] == on_disk["selection"]["step"]

    logged = history(run)
    images = [row["images"] for row in logged]
    assert images == sorted(images), "the x-axis goes backwards"
    curves = [json.loads(line) for line in (joint / "metrics.jsonl").read_text().splitlines()]
    losses = {key for row in curves for key in row if key.endswith("loss")}
    assert {key.split("/")[-1] for key in losses} >= {f"{player}_loss" for player in on_disk["weights"]}
    assert all(row["joint/speed/images_per_second"] > 0 for row in logged if "joint/train/classifier_loss" in row)
    for key in losses:
        assert [row[key] for row in logged if key in row] == [row[key] for row in curves if key in row]
    assert any("joint/samples._type" in row for row in logged)
    assert (run / "files" / "record.json").read_bytes() == (joint / "record.json").read_bytes()
    assert [file["path"] for record in records(run, "files") for file in record["files"]][-1] == "record.json"

    baseline = run_and_find(tmp_path / "debug", capsys, "wandb", "strategy=baseline", "trial=2")
    (other,) = runs(baseline)
    of_generators = {key for key in summary if key.startswith("final/generator/")}
    assert of_generators
    assert set(json.loads(inspect(other, "--summary"))["summary"]) == set(summary) - of_generators


def test_the_logger_does_not_change_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run hash is the same, too, also with several loggers."""
    further = [name for name in ("tensorboard", "mlflow") if importlib.util.find_spec(name)]
    loggers = {"wandb": "wandb", "csv": "csv", "none": "none", "several": f"[{','.join(('csv', *further))}]"}
    left = [run_and_find(tmp_path / to / "debug", capsys, name, "strategy=joint") for to, name in loggers.items()]
    assert len({directory.name for directory in left}) == 1
    first, *others = (json.dumps(result(directory)) for directory in left)
    assert others == [first, first, first]
    assert not runs(left[2])
    assert (left[1] / "metrics.csv").exists()
    assert (left[3] / "metrics.csv").exists()
    for name, kept in (("tensorboard", "tensorboard/*/*/events.out.tfevents.*"), ("mlflow", "mlruns/*/*/metrics")):
        assert bool(list((tmp_path / "several" / "debug").glob(kept))) == (name in further)


def test_an_offline_run_that_was_resumed_twice_is_one_directory_with_one_whole_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within the GAN's fit, and within the classifier's: the history of an uninterrupted run."""
    words = ("strategy=augment", "architecture=cgan", "debug.max_steps=12", "trainer.checkpoint_every=4")
    uninterrupted = run_and_find(tmp_path / "whole" / "debug", capsys, "wandb", *words)
    show = ShowStage.on_metrics
    for stage, step in (("gan", 6), ("classifier", 7)):

        def stop(self: ShowStage, module: PlayersModule, metrics: dict[str, float], at: Any = (stage, step)) -> None:
            show(self, module, metrics)
            if (self._view.name, module.completed_steps) == at:
                raise KeyboardInterrupt

        monkeypatch.setattr(ShowStage, "on_metrics", stop)
        assert main(["run", f"paths.outputs={tmp_path}/debug", *without_quiet(*words), "logger=wandb"]) == 130
    monkeypatch.setattr(ShowStage, "on_metrics", show)
    resumed = run_and_find(tmp_path / "debug", capsys, "wandb", *words)
    assert resumed.name == uninterrupted.name
    (run,), (whole,) = runs(resumed), runs(uninterrupted)
    rows = [without_clock(row) for row in history(run)]
    assert rows == [without_clock(row) for row in history(whole)]
    assert all("gan/speed/images_per_second" in row for row in history(run) if "gan/train/generator_loss" in row)
    points = [(key, row[f"{key.split('/')[0]}/images"]) for row in rows for key in row if "/train/" in key]
    assert len(points) == len(set(points)) > 0
    pictures = [row["gan/images"] for row in rows if "gan/samples._type" in row]
    assert pictures == sorted(set(pictures))
    assert len(pictures) == 6


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the clock, and without the names that W&B draws for its files."""
    drawn = ("._latest_artifact_path", ".artifact_path", ".path", ".sha256")
    return {
        key: value
        for key, value in row.items()
        if "/speed/" not in key and key not in ("_runtime", "_timestamp") and not key.endswith(drawn)
    }


def online(outputs: Path, capsys: pytest.CaptureFixture[str], server: WandbServer, *words: str) -> tuple[Path, Run]:
    directory = run_and_find(outputs, capsys, "wandb", *words)
    assert server.unknown == []
    return directory, server.runs[directory.name]


def test_strategies_compare_online(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wandb_server: WandbServer
) -> None:
    """Equal summary keys, an increasing x-axis, the record's config, and the lineage GAN -> samples -> classifier."""
    augment = ("strategy=augment", "architecture=cgan")
    first, run = online(tmp_path / "debug", capsys, wandb_server, *augment)
    images = [row["images"] for row in run.history]
    assert images == sorted(images)
    assert images[-1] > 0
    config = run.config
    assert config.pop("choices")["data"] == "digits"
    assert with_identifiers(config) == json.loads((first / "record.json").read_text())["config"]
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
    assert len(wandb_server.named(made["gan"].name)) == 1, "a reused stage is used, not logged again"
    _, baseline = online(tmp_path / "debug", capsys, wandb_server, "strategy=baseline")
    of_generators = {key for key in run.summary if key.startswith("final/generator/")}
    assert {"final/generator/fid", "final/generator/recall"} <= of_generators
    assert set(baseline.summary) == set(run.summary) - of_generators


@pytest.mark.slow
def test_every_strategy_has_the_same_keys_and_a_lineage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wandb_server: WandbServer
) -> None:
    keys = set()
    for strategy in ("baseline", "augment", "features", "joint"):
        _, run = online(tmp_path / "debug", capsys, wandb_server, f"strategy={strategy}")
        keys.add(frozenset(key for key in run.summary if not key.startswith("final/generator/")))
        logged = [one for one in wandb_server.artifacts if run.id in one.logged_by and one.type != "run_table"]
        assert [one.type for one in logged if run.id not in one.used_by] in (["classifier"], ["joint"])
    assert len(keys) == 1


@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_one_run(tmp_path: Path, wandb_server: WandbServer) -> None:
    """SIGTERM after some steps: no row twice, and the rows of an uninterrupted run."""
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
    before = len(wandb_server.runs[name].history)
    assert start(tmp_path / "debug").wait(200) == 0
    (run,) = wandb_server.runs.values()
    assert len(run.history) > before
    stopped = [plain(row) for row in run.history]
    wandb_server.runs.clear()
    assert start(tmp_path / "other").wait(200) == 0
    (run,) = wandb_server.runs.values()
    assert run.id == name
    assert stopped == [plain(row) for row in run.history]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without the values for which W&B draws a new name, and without what depends on the clock."""
    return {key: value for key, value in row.items() if not isinstance(value, dict) and "/speed/" not in key}

"""The real client against a stand-in of W&B's server: uploads online, later, in two parts, and with failures."""

import json
import logging
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offline import COMMAND, runs
from wandb_kept import Run
from wandb_server import WandbServer

from trigan.tracking import RunInfo, TrackedArtifact, Tracker
from trigan.tracking.wandb_tracking import WandbTracking, fetch_records, public_api

ID = "0123456789abcdef" * 4
CONFIG = {"data": {"name": "digits"}, "trial": 3}


def open_run(directory: Path, mode: Any = "auto", timeout: float = 15, run: str = ID) -> Tracker:
    directory.mkdir(exist_ok=True)
    info = RunInfo(run, "joint on digits", "digits/labels=10", "joint", ("dcgan", "trial-3"), directory)
    return WandbTracking(mode=mode, timeout=timeout).open(info, CONFIG)


def log_curve(tracker: Tracker, steps: range = range(1, 5)) -> None:
    for step in steps:
        tracker.log("gan", 64 * step, {"train/loss": 1 / step})


def log_results(tracker: Tracker, directory: Path) -> None:
    tracker.log_confusion_matrix("test/confusion", np.array([[5, 1], [2, 7]]), ["zero", "one"])
    (directory / "gan.safetensors").write_bytes(b"weights")
    files = {"gan.safetensors": directory / "gan.safetensors"}
    tracker.log_artifact(TrackedArtifact("gan-0123", "gan", {"step": 4}, {"digest": "0123"}, files, used=True))
    tracker.log_artifact(TrackedArtifact("classifier-45", "classifier", {}, {"digest": "45"}, {}, used=False))
    tracker.log_summary({"test/accuracy": 0.8, "status": "finished"})
    (directory / "record.json").write_text('{"run": "0123"}\n')
    tracker.log_record(directory / "record.json")
    tracker.finish()


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """Without the tables: W&B draws a new key for each on each machine."""
    return {key: inner for key, inner in value.items() if not key.endswith("_table")}


def axes(run: Run) -> dict[str, str]:
    """The x-axis of each pattern of keys, as W&B's config has it, by its numbers of fields.

    "1" is a name, "2" a pattern, "5" the place of the axis in the list, from 1 on.
    """
    metrics = json.loads(run.told["config"])["_wandb"]["value"]["m"]
    return {metric["2"]: metrics[metric["5"] - 1]["1"] for metric in metrics if "2" in metric}


def check(server: WandbServer, run: Run) -> None:
    """The server has what `log_curve` and `log_results` logged, once."""
    assert (run.state, run.config, run.project) == ("finished", CONFIG, "trigan")
    assert run.told["groupName"] == "digits/labels=10"
    assert (run.told["jobType"], run.told["displayName"]) == ("joint", "joint on digits")
    assert set(run.told["tags"]) == {"dcgan", "trial-3"}
    history = [plain(row) for row in run.history]
    assert [row.pop("images") for row in history] == [64, 128, 192, 256, 256, 256]
    assert history[:4] == [{"gan/train/loss": 1 / step, "gan/images": 64 * step} for step in range(1, 5)]
    assert history[4:] == [{}, {"test/accuracy": 0.8}]
    assert run.steps == list(range(6))
    assert plain(run.summary) == {"test/accuracy": 0.8, "status": "finished"}
    assert server.file(run.id, "record.json") == b'{"run": "0123"}\n'
    (gan,), (classifier,) = server.named("gan-0123"), server.named("classifier-45")
    assert (gan.created_by, gan.used_by, gan.metadata) == (run.id, [run.id], {"step": 4})
    assert (classifier.created_by, classifier.used_by) == (run.id, [])
    assert set(gan.files) == {"description.json"}
    assert json.loads(server.storage[gan.files["description.json"]]) == {"digest": "0123"}
    assert server.unknown == []


def test_an_online_run_arrives_and_can_be_read(wandb_server: WandbServer, tmp_path: Path) -> None:
    tracker = open_run(tmp_path / "run")
    log_curve(tracker)
    log_results(tracker, tmp_path / "run")
    check(wandb_server, wandb_server.runs[ID])
    assert axes(wandb_server.runs[ID]) == {"gan/*": "gan/images", "test/*": "images"}
    assert "/" not in wandb_server.runs[ID].told["program"], "a path of this machine was sent"
    assert fetch_records(public_api(), "me/trigan", [ID, "other"], tmp_path / "fetched", "record.json") == {ID}
    assert (tmp_path / "fetched" / "runs" / ID / "record.json").read_text() == '{"run": "0123"}\n'
    assert wandb_server.unknown == []


def test_an_offline_run_arrives_later_as_it_would_have_online(wandb_server: WandbServer, tmp_path: Path) -> None:
    tracker = open_run(tmp_path / "run", "offline")
    log_curve(tracker)
    log_results(tracker, tmp_path / "run")
    assert not wandb_server.asked
    sync(tmp_path / "run" / "wandb")
    check(wandb_server, wandb_server.runs[ID])


def sync(*arguments: str | Path) -> None:
    """The command that trigan's warning prints."""
    folder = Path(arguments[-1]).parent  # where the command leaves its log
    subprocess.run([COMMAND, "sync", *arguments], check=True, capture_output=True, text=True, timeout=120, cwd=folder)


@pytest.mark.parametrize("mode", ["online", "offline", pytest.param("synced", marks=pytest.mark.slow)])
def test_an_interrupted_and_resumed_run_is_one_run(wandb_server: WandbServer, tmp_path: Path, mode: str) -> None:
    """The second process logs everything again, online, offline, or after the first attempt was synced."""
    synced, mode = mode == "synced", mode.replace("synced", "offline")
    first = open_run(tmp_path / "run", mode)
    log_curve(first, range(1, 4))
    first.finish(143)
    if mode == "offline":
        time.sleep(1.1)  # W&B names the directory by the second
    if synced:
        sync(tmp_path / "run" / "wandb")
    second = open_run(tmp_path / "run", mode)
    log_curve(second)
    log_results(second, tmp_path / "run")
    if mode == "offline":
        assert len(runs(tmp_path / "run")) == 1 + synced
        sync(tmp_path / "run" / "wandb")
    (run,) = wandb_server.runs.values()
    check(wandb_server, run)


def test_an_artifact_of_another_run_is_used_not_logged_again(wandb_server: WandbServer, tmp_path: Path) -> None:
    for run in ("first", "second"):
        tracker = open_run(tmp_path / run, run=run)
        tracker.log_artifact(TrackedArtifact("gan-0123", "gan", {}, {"digest": "0123"}, {}, used=True))
        tracker.finish()
    (gan,) = wandb_server.named("gan-0123")
    assert (gan.created_by, gan.used_by) == ("first", ["first", "second"])


@pytest.mark.parametrize(("artifacts", "files"), [("none", None), ("full", {"description.json", "gan.safetensors"})])
def test_weights_are_sent_with_artifacts_full(
    wandb_server: WandbServer, tmp_path: Path, artifacts: Any, files: set[str] | None
) -> None:
    info = RunInfo(ID, "n", "g", "j", (), tmp_path)
    tracker = WandbTracking(artifacts=artifacts).open(info, {})
    (tmp_path / "gan.safetensors").write_bytes(b"weights")
    files_of_gan = {"gan.safetensors": tmp_path / "gan.safetensors"}
    tracker.log_artifact(TrackedArtifact("gan-0123", "gan", {}, {"digest": "0123"}, files_of_gan, used=True))
    tracker.finish()
    found = wandb_server.named("gan-0123")
    assert [set(one.files) for one in found] == ([] if files is None else [files])
    for one in found:
        assert wandb_server.storage[one.files["gan.safetensors"]] == b"weights"


@pytest.mark.parametrize("how", ["die", "hang", pytest.param("refuse", marks=pytest.mark.slow)])
def test_a_server_that_fails_midway_is_one_line(
    wandb_server: WandbServer, tmp_path: Path, how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = open_run(tmp_path / "run", timeout=1)
    log_curve(tracker, range(1, 2))
    wandb_server.wait_for(ID, 1)
    if how == "die":
        wandb_server.die()
    else:
        wandb_server.mood = how
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "trigan"):
        log_curve(tracker, range(2, 5))
        log_results(tracker, tmp_path / "run")
    assert time.monotonic() - start < 6
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("trigan")]
    assert "send the rest with: wandb sync --include-online " in line
    if how == "refuse":
        wandb_server.mood = "answer"
        sync("--include-online", line.rpartition(" ")[2])
        run = wandb_server.runs[ID]
        # W&B's command appends: a row that was sent before comes again, at its own images
        assert [row["images"] for row in run.history] == [64, 64, 128, 192, 256, 256, 256]
        assert plain(run.summary) == {"test/accuracy": 0.8, "status": "finished"}
        assert [len(wandb_server.named(name)) for name in ("gan-0123", "classifier-45")] == [1, 1]

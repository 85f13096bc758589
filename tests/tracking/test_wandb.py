"""W&B gets what is documented, needs no key and no network, and its failures do not affect a run."""

import json
import logging
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offline import COMMAND, history, inspect, records, runs
from PIL import Image

from trigan.errors import ConfigError
from trigan.tracking import RunInfo
from trigan.tracking.wandb_tracker import WandbTracker
from trigan.tracking.wandb_tracking import WandbTracking, public_api

ID = "0123456789abcdef" * 4

pytestmark = pytest.mark.usefixtures("logged_out")


def info(directory: Path) -> RunInfo:
    tags = ("dcgan", "hinge", "trial-3", "x" * 100, "")
    return RunInfo(ID, "joint on digits", "digits/labels=10", "joint", tags, directory)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("trigan")]


def log_two_stages(directory: Path, start: int = 1) -> None:
    tracker = WandbTracking().open(info(directory), {"data": {"name": "digits"}, "trial": 3})
    for step in range(start, 5):
        tracker.log("gan", 64 * step, {"gan/train/discriminator_loss": 1 / step, "train/generator_loss": step})
    Image.new("L", (8, 8)).save(directory / "grid.png")
    tracker.log_image("gan/samples", directory / "grid.png", 256)
    tracker.log("classifier", 32, {"classifier/train/loss": 0.5})
    tracker.log_confusion_matrix("test/confusion", np.array([[5, 1], [2, 7]]), ["zero", "one"])
    tracker.log_summary({"test/accuracy": 0.8, "cost/flops": 10**12, "status": "finished"})
    tracker.finish()
    tracker.finish()


def test_an_offline_run_holds_what_is_documented(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    state = (random.getstate(), str(np.random.get_state()))
    log_two_stages(directory)
    assert (random.getstate(), str(np.random.get_state())) == state
    assert capfd.readouterr() == ("", ""), "W&B printed something"
    (line,) = warnings(caplog)
    assert f"wandb sync {directory / 'wandb'}" in line

    (run,) = runs(directory)
    summary = json.loads(inspect(run, "--summary"))
    assert summary["run_id"] == ID
    assert summary["project"] == "trigan"
    assert summary["name"] == "joint on digits"
    assert summary["state"] == "finished"
    assert summary["config"] == {"data": {"name": "digits"}, "trial": 3}
    assert set(summary["tags"]) == {"dcgan", "hinge", "trial-3", "x" * 64}
    kept = {key: value for key, value in summary["summary"].items() if not key.startswith(("_", "test/confusion"))}
    assert kept == {"test/accuracy": 0.8, "cost/flops": 10**12, "status": "finished"}
    (sent,) = records(run, "run")
    assert (sent["run_group"], sent["job_type"]) == ("digits/labels=10", "joint")
    axes = {axis["glob_name"]: axis["step_metric"] for axis in records(run, "metric") if "glob_name" in axis}
    assert axes == {"gan/*": "gan/images", "classifier/*": "classifier/images", "test/*": "images", "cost/*": "images"}

    rows = history(run)
    assert [row["images"] for row in rows] == [64, 128, 192, 256, 256, 288, 288, 288]
    assert [row["gan/train/discriminator_loss"] for row in rows[:4]] == [1, 1 / 2, 1 / 3, 1 / 4]
    assert [row["gan/train/generator_loss"] for row in rows[:4]] == [1, 2, 3, 4]
    assert [row["gan/images"] for row in rows[:4]] == [64, 128, 192, 256]
    assert rows[4]["gan/samples._type"] == "image-file"
    assert rows[4]["gan/images"] == 256
    assert (run / "files" / rows[4]["gan/samples.path"]).read_bytes() == (directory / "grid.png").read_bytes()
    assert rows[5]["classifier/images"] == 32
    assert rows[7]["test/accuracy"] == 0.8
    (table,) = (run / "files").rglob("*.table.json")
    assert json.loads(table.read_text())["data"] == [
        ["zero", "zero", 5],
        ["zero", "one", 1],
        ["one", "zero", 2],
        ["one", "one", 7],
    ]
    assert '"test/confusion_table"' in inspect(run)
    assert not list((run / "files").glob("*requirements*")), "a list of packages was sent"
    assert list((tmp_path / "home").iterdir()) == [], "everything lies under the run's directory"


def test_the_record_is_a_file_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"run": "0123"}\n')
    tracker = WandbTracking(mode="offline").open(info(tmp_path), {})
    tracker.log_summary({"test/accuracy": 0.8})
    tracker.log_record(tmp_path / "record.json")
    tracker.finish()
    (run,) = runs(tmp_path)
    assert records(run, "files") == [{"files": [{"path": "record.json"}]}]
    kept = run / "files" / "record.json"
    assert not kept.is_symlink(), "what is sent later is what was there"
    assert kept.read_text() == '{"run": "0123"}\n'


def test_reading_needs_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^you are not logged in to W&B: log in with `wandb login`"):
        public_api()
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(ConfigError, match=r"^W&B: .*; log in with `wandb login`$"):
        public_api()


def test_reading_from_an_unreachable_server_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with pytest.raises(ConfigError, match=r"^W&B can't be reached \(.*\); try again later"):
        public_api(timeout=1)


def test_a_restarted_run_is_one_directory(tmp_path: Path) -> None:
    """Offline: the run logs everything again, and W&B's directory of the first attempt is replaced."""
    directory = tmp_path / "run"
    directory.mkdir()
    for _ in range(2):
        first = WandbTracking().open(info(directory), {})
        for step in (1, 2, 3):
            first.log("gan", 64 * step, {"x": step})
        first.finish(1)
        time.sleep(1.1)  # W&B names the directory by the second
    log_two_stages(directory)
    (run,) = runs(directory)
    assert [record["run_id"] for record in records(run, "run")] == [ID]
    assert [row["images"] for row in history(run)] == [64, 128, 192, 256, 256, 288, 288, 288]


def test_an_attempt_that_was_sent_is_continued(tmp_path: Path) -> None:
    """A second directory then has the same id, and no row that was sent."""
    directory = tmp_path / "run"
    directory.mkdir()
    first = WandbTracking().open(info(directory), {})
    for step in (1, 2, 3):
        first.log("gan", 64 * step, {"x": step})
    first.finish(1)
    (one,) = runs(directory)
    next(one.glob("*.wandb")).with_suffix(".wandb.synced").touch()  # as `wandb sync` does
    time.sleep(1.1)
    log_two_stages(directory)
    one, two = runs(directory)
    assert [record["run_id"] for run in (one, two) for record in records(run, "run")] == [ID, ID]
    assert [row["images"] for row in history(one)] == [64, 128, 192]
    assert [row["images"] for row in history(two)][:3] == [192, 256, 256]  # other names than the first logged there


def test_kill_9_loses_about_a_second(tmp_path: Path) -> None:
    code = f"""
        import os, time
        from pathlib import Path
        from trigan.tracking import RunInfo
        from trigan.tracking.wandb_tracking import WandbTracking
        directory = Path({str(tmp_path)!r})
        tracker = WandbTracking().open(RunInfo("{ID}", "n", "g", "j", (), directory), {{}})
        end = time.time() + 2.2
        step = 0
        while time.time() < end:
            step += 1
            tracker.log("gan", step, {{"time": time.time()}})
            time.sleep(0.05)
        print(time.time(), flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (run,) = runs(tmp_path)
    assert float(done.stdout) - history(run)[-1]["gan/time"] < 1.3


def test_a_missing_image_is_one_line_and_the_run_continues(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = WandbTracking().open(info(tmp_path), {})
    tracker.log("gan", 1, {"x": 1})
    tracker.log_image("gan/samples", tmp_path / "absent.png", 1)
    tracker.log_image("gan/samples", tmp_path / "absent.png", 1)
    tracker.log("gan", 2, {"x": 2})
    tracker.finish()
    _, failed = warnings(caplog)
    assert "absent.png" in failed
    (run,) = runs(tmp_path)
    assert [row["gan/x"] for row in history(run)] == [1, 2]


def test_a_dead_service_is_one_line(tmp_path: Path) -> None:
    code = f"""
        import os, subprocess, time
        from pathlib import Path
        from trigan.tracking import RunInfo
        from trigan.tracking.wandb_tracking import WandbTracking
        tracker = WandbTracking().open(RunInfo("{ID}", "n", "g", "j", (), Path({str(tmp_path)!r})), {{}})
        for line in Path("/proc").glob("[0-9]*/stat"):
            name, rest = line.read_text().rsplit(")", 1)
            if int(rest.split()[1]) == os.getpid():
                os.kill(int(line.parent.name), 9)
        time.sleep(0.3)
        for step in range(3):
            tracker.log("gan", step, {{"x": 1}})
        tracker.log_summary({{"a": 1}})
        tracker.finish()
        print("reached the end")
    """
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to find W&B's service process")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout == "reached the end\n"
    offline, failed = done.stderr.splitlines()
    assert "wandb sync" in offline
    assert "W&B failed" in failed


def test_a_server_that_never_answers_means_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        start = time.monotonic()
        tracker = WandbTracking(timeout=1).open(info(tmp_path), {})
        tracker.log("gan", 1, {"x": 1})
        tracker.finish()
        assert time.monotonic() - start < 8
    (line,) = warnings(caplog)
    assert "can't be reached" in line
    assert "wandb sync" in line
    (run,) = runs(tmp_path)
    assert [row["gan/x"] for row in history(run)] == [1]


@pytest.mark.parametrize("where", ["nowhere", "environment", "netrc", "another host's netrc", "bad key"])
def test_the_mode_follows_from_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Only the choice of the mode is tested, without a server."""
    asked = []

    def init(self: WandbTracking, info: RunInfo, config: object, folder: Path, mode: str) -> object:
        asked.append(mode)
        return SimpleNamespace(id=info.id)

    monkeypatch.setattr(WandbTracking, "_init", init)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    if where == "environment":
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    elif where == "bad key":
        monkeypatch.setenv("WANDB_API_KEY", "short")
    elif "netrc" in where:
        host = "wandb.example.org" if where == "netrc" else "elsewhere.example.org"
        netrc = tmp_path / "home" / ".netrc"
        netrc.write_text(f"machine {host}\n  login user\n  password {'b' * 40}\n")
        netrc.chmod(0o600)
    assert isinstance(WandbTracking().open(info(tmp_path), {}), WandbTracker)
    assert asked == ["online" if where in ("environment", "netrc") else "offline"]
    assert len(warnings(caplog)) == (asked == ["offline"])


def test_wandb_mode_disables_tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not isinstance(WandbTracking().open(info(tmp_path), {}), WandbTracker)


def test_an_unwritable_directory_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "run").write_text("a file")
    with caplog.at_level(logging.WARNING):
        tracker = WandbTracking(mode="offline").open(info(tmp_path / "run"), {})
    tracker.log("gan", 1, {"x": 1})
    tracker.finish()
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "on"}, "logger.wandb.mode"),
        ({"project": "a/b"}, "logger.wandb.project"),
        ({"timeout": 0}, "logger.wandb.timeout"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        WandbTracking(**settings)


def test_the_wandb_command_is_installed() -> None:
    assert shutil.which(str(COMMAND)), "the tests above read runs back with W&B's own command"


def test_forked_jobs_keep_their_own_files(tmp_path: Path) -> None:
    """W&B is imported once and forked, as a study's jobs are; the first child ends before the second logs."""
    code = f"""
        import os, sys
        from pathlib import Path
        import numpy, wandb
        from trigan.execution.forkserver import run_exit_handlers
        from trigan.tracking import RunInfo
        from trigan.tracking.wandb_tracking import WandbTracking
        for name in ("one", "two"):
            child = os.fork()
            if child == 0:
                directory = Path({str(tmp_path)!r}) / name
                directory.mkdir()
                tracker = WandbTracking(mode="offline").open(RunInfo(name, "n", "g", "j", (), directory), {{}})
                tracker.log_confusion_matrix("test/confusion", numpy.eye(2), ["a", "b"])
                tracker.finish()
                run_exit_handlers()
                os._exit(0)
            os.waitpid(child, 0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "failed" not in done.stderr
    for name in ("one", "two"):
        (run,) = runs(tmp_path / name)
        assert len(list((run / "files").rglob("*.table.json"))) == 1, name

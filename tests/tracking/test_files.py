"""Curves in files: no logged row is lost or doubled, and torn last lines are removed."""

import csv
import math
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from trigan.errors import ArtifactError
from trigan.tracking import MetricsFile, RunInfo
from trigan.tracking.curve_files import CsvTracking
from trigan.tracking.tracker import Tracking


def info(directory: Path) -> RunInfo:
    return RunInfo("ab12", "name", "group", "joint", ("dcgan",), directory)


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.jsonl"
    file = MetricsFile(path)
    file.log("gan", 64, {"gan/train/discriminator_loss": 0.1, "gan/train/generator_loss": float(np.float32(2))})
    assert len(MetricsFile.read(path)) == 1  # on the disk at once, not at the end
    file.log("gan", 128, {"gan/train/discriminator_loss": float("nan")})
    first, second = MetricsFile.read(path)
    assert first == {
        "stage": "gan",
        "images": 64,
        "gan/train/discriminator_loss": 0.1,
        "gan/train/generator_loss": 2.0,
    }
    assert math.isnan(second["gan/train/discriminator_loss"])
    assert MetricsFile.read(tmp_path / "absent") == []
    with pytest.raises(ValueError, match="images"):
        file.log("gan", 1, {"images": 3})


def test_truncation_for_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    for images in range(100, 401, 100):
        file.log("gan", images, {"loss": images})
    file.truncate_after(200)
    assert [row["images"] for row in MetricsFile.read(path)] == [100, 200]
    file.log("gan", 300, {"loss": 7})
    assert MetricsFile.read(path)[-1] == {"stage": "gan", "images": 300, "loss": 7}
    file.truncate_after(250)
    assert len(MetricsFile.read(path)) == 2
    file.truncate_after(0)
    assert MetricsFile.read(path) == []


@pytest.mark.parametrize("damage", [b"\xff", b"[1]\n", b'{"stage": "gan"}\n', b"[" * 100_000 + b"\n"])
def test_a_damaged_row_is_left_out_with_one_warning(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    for images in (100, 200, 300):
        MetricsFile(path).log("gan", images, {"loss": images})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage + lines[1][len(damage) if len(damage) == 1 else 0 :] + lines[2])
    with pytest.raises(ArtifactError, match="line 2 is damaged"):
        MetricsFile.read(path)
    MetricsFile(path).truncate_after(250)
    assert "1 damaged rows are left out" in caplog.text
    assert [row["images"] for row in MetricsFile.read(path)] == ([100] if len(damage) == 1 else [100, 200])


def test_a_torn_last_line_is_not_read_and_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "gan", "images": 1, "x": 1.0}\n{"stage": "ga')
    assert len(MetricsFile.read(path)) == 1
    MetricsFile(path).log("gan", 2, {"x": 2.0})
    assert [row["images"] for row in MetricsFile.read(path)] == [1, 2]


def test_an_unwritable_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write") as caught:
        MetricsFile(tmp_path / "file" / "metrics.jsonl")
    assert "\n" not in str(caught.value)


def test_a_disk_that_fills_up_leaves_whole_rows(tmp_path: Path) -> None:
    """The kernel writes only part of the last row (RLIMIT_FSIZE); the part is removed."""
    path = tmp_path / "metrics.jsonl"
    code = f"""
        import resource
        from pathlib import Path
        from trigan.tracking import MetricsFile
        file = MetricsFile(Path({str(path)!r}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        for images in range(100):
            file.log("gan", images, {{"x": 1.0}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert "DiskFullError" in done.stderr
    assert path.read_bytes().endswith(b"}\n")
    assert 10 < len(MetricsFile.read(path)) < 100


def test_kill_9_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    code = f"""
        import os
        from pathlib import Path
        from trigan.tracking import MetricsFile
        file = MetricsFile(Path({str(path)!r}))
        for images in range(50):
            file.log("gan", images, {{"x": images}})
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [row["x"] for row in MetricsFile.read(path)] == list(range(50))


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_a_restarted_run_gives_the_same_csv_files(tmp_path: Path) -> None:
    def run(*logged: int) -> None:
        tracker = CsvTracking().open(info(tmp_path), {})
        for images in logged:
            tracker.log("gan", images, {"gan/train/loss": images / 3, "gan/train/other": 1})
        tracker.log_image("gan/samples", tmp_path / "absent.png", 3)
        tracker.log_confusion_matrix("test/confusion", np.array([[3, 1], [0, 4]]), ["cat", "dog, small"])
        tracker.log_summary({"test/accuracy": 0.875, "cost/flops": 10**12, "status": "finished"})
        tracker.finish()
        tracker.finish()

    run(64, 128, 192)
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-7])  # killed in the last line
    run(128, 192)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == whole
    assert table(path)[:2] == [["stage", "images", "key", "value"], ["gan", "64", "gan/train/loss", repr(64 / 3)]]
    assert len(table(path)) == 7
    assert table(tmp_path / "test_confusion.csv")[2] == ["dog, small", "0", "4"]
    assert ["test/accuracy", "0.875"] in table(tmp_path / "summary.csv")


def test_none_writes_nothing(tmp_path: Path) -> None:
    tracker = Tracking().open(info(tmp_path), {})
    tracker.log("gan", 1, {"x": 1})
    tracker.log_image("a", tmp_path / "a.png", 1)
    tracker.log_confusion_matrix("c", np.eye(2), ["a", "b"])
    tracker.log_summary({"a": 1})
    tracker.finish(1)
    assert list(tmp_path.iterdir()) == []

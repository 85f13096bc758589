"""Runs on images that stay in their files: the same runs as in memory, in a bounded memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from record_makers import canonical_result_bytes

from trigan.records.record import RECORD_NAME, read_record
from trigan.runs.run_words import run_words

SMALL = ["data=npz", "logger=none", "callbacks=quiet", "classifier.width=4", "architecture.width=4", "trainer=cpu"]
SHORT = ["data.suggested.steps=4", "data.suggested.gan_steps=4", "regime.labels_per_class=10"]


@pytest.mark.parametrize("strategy", ["baseline", "augment", "features", "joint"])
def test_a_run_is_the_same(strategy: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for part, count in (("train", 200), ("test", 40)):
        images = draw.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        np.save(tmp_path / f"images/{part}_images.npy", images)
        np.save(tmp_path / f"images/{part}_labels.npy", np.arange(count) % 2)
    words = [f"strategy={strategy}", *SMALL, *SHORT, f"data.root={tmp_path}/images"]
    found = [
        run_words([*words, f"data.in_memory={kept}", f"paths.outputs={tmp_path}/{kept}"]) for kept in ("true", "false")
    ]
    assert found[0].name == found[1].name
    one, other = (canonical_result_bytes(read_record(directory / RECORD_NAME)) for directory in found)
    assert one == other


COUNT, SIDE = 102_000, 256


def write_sparse(path: Path) -> int:
    """20 GB of images of which each has its number in its first pixels and is black elsewhere; returns the bytes."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(COUNT, SIDE, SIDE, 3))
    size, first = path.stat().st_size, path.stat().st_size - COUNT * SIDE * SIDE * 3
    with path.open("r+b", buffering=0) as file:
        for number in range(COUNT):
            os.pwrite(file.fileno(), number.to_bytes(4, "little"), first + number * SIDE * SIDE * 3)
    return size


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_twenty_gigabytes_train_in_two(tmp_path: Path) -> None:
    """A whole run, to its record, of a file of which the disk holds half a gigabyte."""
    assert write_sparse(tmp_path / "train_images.npy") > 20e9
    np.save(tmp_path / "train_labels.npy", np.arange(COUNT) % 2)
    np.save(tmp_path / "test_images.npy", np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3), np.uint8))
    np.save(tmp_path / "test_labels.npy", np.arange(20) % 2)
    words = ["strategy=baseline", *SMALL, *SHORT, "recipe.batch=8", f"data.root={tmp_path}", "data.in_memory=false"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "trigan", "run", *words, f"paths.outputs={tmp_path}/outputs"]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_maxrss * 1024 < 2e9
    assert len(list(tmp_path.glob("outputs/runs/*/record.json"))) == 1

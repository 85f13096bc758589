"""Plots: the same bytes every time, with the expected content."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigan.plots import run_plots
from trigan.plots.run_plots import loss_curves
from trigan.records.record import Record
from trigan.tables.table import Table, TableSpec, build_table

ROWS = [
    {"stage": "gan", "images": 640 * i, "gan/train/generator_loss": 1.0 + i, "gan/train/discriminator_loss": 0.5}
    for i in range(5)
] + [
    {
        "stage": "classifier",
        "images": 64,
        "classifier/train/classifier_loss": float("nan"),
        "classifier/train/rate": 1.0,
    },
    {"stage": "classifier", "images": 128, "classifier/train/classifier_loss": 0.5},
    {"stage": "classifier", "images": 128, "classifier/validation/classifier_loss": 0.7},
]


@pytest.fixture
def table(records: Callable[..., list[Record]]) -> Table:
    places = {
        ("a $b_1^2", "x"): records([0.8, 0.9, 0.85]),
        ("c", "x"): records([0.9, 0.95], status="diverged", data_used={"U": 5}),
        ("d", "x"): [],
    }
    return build_table(places, TableSpec("t", ("a $b_1^2", "c", "d"), ("x",)))


def test_losses_are_sorted_into_stages_and_players() -> None:
    found = loss_curves(ROWS)
    assert {stage: list(curves) for stage, curves in found.items()} == {
        "gan": ["generator", "discriminator"],
        "classifier": ["classifier", "classifier, validation"],
    }
    images, values = found["gan"]["generator"]
    assert images.tolist() == [0, 640, 1280, 1920, 2560]
    assert values.tolist() == [1, 2, 3, 4, 5]


def test_every_picture_has_the_same_bytes_twice(tmp_path: Path, table: Table) -> None:
    drawn = {
        "loss": lambda path: run_plots.plot_loss_curves(ROWS, path),
        "empty": lambda path: run_plots.plot_loss_curves([], path),
        "features": lambda path: run_plots.plot_feature_map(
            np.eye(24)[:, :3], np.arange(24) % 12, [*"abcdefghijkl"], path
        ),
        "confusion": lambda path: run_plots.plot_confusion_matrix(np.eye(3, dtype=int), ["a", "b_$", "c"], path),
        "table": lambda path: run_plots.plot_comparison(table, path),
    }
    for name, draw in drawn.items():
        first, second = tmp_path / f"{name}1.png", tmp_path / f"{name}2.png"
        draw(first)
        draw(second)
        assert first.read_bytes() == second.read_bytes()
        assert b"Software" not in first.read_bytes()
        assert len(np.unique(np.asarray(Image.open(first).convert("L")))) > 10


def test_the_confusion_matrix_is_coloured_by_share(tmp_path: Path) -> None:
    """An absent class stays pale, a class that is always right is darkest whatever its size."""
    run_plots.plot_confusion_matrix([[1, 0, 0], [0, 1000, 0], [0, 0, 0]], ["a", "b", "c"], tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)
    darkest, palest = (8, 48, 107), (247, 251, 255)
    assert (pixels == darkest).all(axis=1).sum() * 3 < (pixels == palest).all(axis=1).sum()


def test_importing_the_room_brings_no_torch_and_no_matplotlib() -> None:
    code = (
        "import sys, trigan.plots.run_plots, trigan.plots.sample_grids, trigan.tables.compare\n"
        "import trigan.tables.layout.text\n"
        "print([name for name in ('torch', 'matplotlib', 'pandas', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Class names that no picture, page or terminal expects: a run ends with a record, and pictures have escapes."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from few_steps import small
from PIL import Image
from tensor_datasets import save

from trigan.commands.main import main
from trigan.datasets.types import DataSpec
from trigan.plots import run_plots, sample_grids
from trigan.records.record import read_record
from trigan.runs.predict import predict_files

NAMES = [b"cat\ntabby", b"caf\xe9", "猫".encode(), b"$\\frac{", b"plain"]


def test_a_run_ends_with_its_record_and_no_picture_costs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        for i in range(8):
            save(tmp_path, f"in/{k}/{i}.png", rng.integers(0, 40, (8, 8), dtype=np.uint8) + np.uint8(40 * k))
        os.rename(tmp_path / f"in/{k}", os.path.join(os.fsencode(tmp_path / "in"), name))

    def fail(*_: object) -> None:
        raise ValueError("no such sign")

    monkeypatch.setattr(run_plots, "plot_confusion_matrix", fail)
    words = ["strategy=joint", "architecture=cgan", "data=folder", f"data.root={tmp_path / 'in'}", "data.image_size=8"]
    assert main(["run", *small(*words, "regime.labels_per_class=2"), f"paths.outputs={tmp_path / 'out'}"]) == 0
    (path,) = (tmp_path / "out").rglob("record.json")
    shown = {r"cat\ntabby", r"caf\xe9", "猫", r"$\frac{", "plain"}
    assert set(read_record(path)["result"]["data"]["classes"]) == shown
    assert "a picture is not drawn (ValueError: no such sign)" in caplog.text


def test_names_are_drawn_in_one_line(tmp_path: Path) -> None:
    names = [r"cat\ntabby", "猫", "кошка", "قط", "🐈", "$x$", "a" * 500]
    images = np.zeros((len(names), 2, 8, 8, 1), np.uint8)
    sample_grids.save_sample_grid(images, tmp_path / "a.png", names)
    run_plots.plot_confusion_matrix(np.eye(len(names), dtype=int), names, tmp_path / "b.png")
    run_plots.plot_feature_map(
        np.random.default_rng(0).normal(size=(14, 2)), np.arange(14) % 7, names, tmp_path / "c.png"
    )
    heights = {Image.open(tmp_path / f"{name}.png").size[1] for name in "a"}
    assert heights == {8 + len(names) * 42 - 2 + 8}  # no name takes more than its row


def test_prediction_reads_images_as_the_run_did(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 4), 50, np.uint16)).save(tmp_path / "x.tif")
    source = {"fit": "pad", "window": [0, 100]}
    run = SimpleNamespace(
        record={"config": {"data": {"source": source}}}, spec=DataSpec(1, 8, 2), logits=lambda images: images
    )
    ((_, images, errors),) = predict_files(run, [tmp_path / "x.tif"], 4)  # type: ignore[arg-type]
    assert errors == []
    assert images[0, 0, :, 2:6].unique().tolist() == [127]
    assert torch.count_nonzero(images[0, 0]) == 32

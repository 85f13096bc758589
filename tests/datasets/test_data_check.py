from pathlib import Path

import numpy as np
import pytest
from tensor_datasets import save

from trigan.datasets.data_check import DataReport, check_data
from trigan.datasets.sources.digits import Digits
from trigan.datasets.sources.folder import Folder

GREY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def texts(report: DataReport, level: str) -> str:
    return "\n".join(text for found, text in report.findings if found == level)


def test_a_sound_data_set() -> None:
    report = check_data(Digits())
    assert report.level == "ok"
    assert report.class_counts["train"]["0"] == 178
    assert "174 to 183 images in each class" in texts(report, "ok")
    assert "no image occurs twice" in texts(report, "ok")
    assert any(line.startswith("train: 1797 images") for line in report.lines())
    assert all("\n" not in line for line in report.lines())


def test_all_unreadable_files_are_listed(folder: Path) -> None:
    for name in ("digit0/x.png", "digit2/y.png"):
        (folder / name).write_bytes(b"nothing")
    report = check_data(Folder(root=str(folder)))
    assert report.level == "error"
    assert len(report.unreadable) == 2
    assert all(any(name in line for line in report.lines()) for name in ("digit0/x.png", "digit2/y.png"))
    assert report.class_counts["train"] == {"digit0": 6, "digit1": 6, "digit2": 6}


def test_classes_values_and_copies(folder: Path) -> None:
    root = folder.parent / "parts"
    root.mkdir()
    folder.rename(root / "train")
    save(root, "train/alone/a.png", GREY)
    save(root, "train/digit0/black.png", GREY * 0)
    save(root, "train/digit0/white.png", GREY * 0 + 255)
    save(root, "test/digit0/copy.png", GREY)
    save(root, "test/digit1/other.png", GREY + 1)
    save(root, "train/digit1/other.png", GREY + 2)
    save(root, "train/digit1/same.png", GREY + 2)
    report = check_data(Folder(root=str(root)))
    warned = texts(report, "warning")
    assert report.level == "warning"
    assert "train: a single image of alone" in warned
    assert "fewer than 10 images of digit0 (8), digit1 (8), digit2 (6)" in warned
    assert "test: no image of alone, digit2" in warned
    assert "1 images are all black" in warned
    assert "black.png" in warned
    assert "1 images are of one colour" in warned
    assert "1 among the training images, 0 among the test images" in warned
    assert "1 pictures are in both training and test" in warned
    assert "1 pictures have more than one label" in warned
    assert "(alone and digit0)" in warned


def test_mixed_sizes_and_one_class_are_findings(folder: Path, tmp_path: Path) -> None:
    save(folder, "digit0/z.png", np.tile(GREY, (2, 3)))
    report = check_data(Folder(root=str(folder)))
    assert "data.image_size=" in texts(report, "error")
    assert "2 image sizes (8x8: 18, 24x16: 1)" in texts(report, "warning")
    assert "not square" in texts(report, "warning")
    save(tmp_path / "one", "only/a.png", GREY)
    assert "only one class" in texts(check_data(Folder(root=str(tmp_path / "one"))), "error")
    assert "does not exist" in texts(check_data(Folder(root=str(tmp_path / "no"))), "error")


@pytest.mark.parametrize("low", [True, False])
def test_value_range(tmp_path: Path, low: bool) -> None:
    for k in range(2):
        for i in range(3):
            save(tmp_path, f"{k}/{i}.png", (GREY + i + 3 * k) // (8 if low else 1))
    assert ("small part of 0..255" in texts(check_data(Folder(root=str(tmp_path))), "warning")) == low

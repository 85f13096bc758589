from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensor_datasets import save

from trigan.datasets.data_check import DataReport, check_data, suspicious_examples
from trigan.datasets.label_check import suspicious_labels
from trigan.datasets.sources.digits import Digits
from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.npz import Npz

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
    assert "1 pictures occur more than once within train; a run keeps them in one part: " in warned
    assert "1 pictures are in train and test; a run keeps them in test alone: " in warned
    assert "train/alone/a.png = " in warned
    assert "1 pictures have more than one label" in warned
    assert "(alone and digit0)" in warned


def test_mixed_sizes_and_one_class_are_findings(folder: Path, tmp_path: Path) -> None:
    save(folder, "digit0/z.png", np.tile(GREY, (2, 3)))
    report = check_data(Folder(root=str(folder)))
    assert "data.image_size=" in texts(report, "error")
    assert "2 image sizes (8x8: 18, 24x16: 1)" in texts(report, "warning")
    resized = check_data(Folder(root=str(folder), image_size=16))
    assert "2 image sizes (8x8: 18, 24x16: 1), resized to 16x16 (data.image_size)" in texts(resized, "ok")
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


@pytest.mark.parametrize(("bits", "window"), [(10, "[0,1023]"), (12, "[0,4095]"), (14, "[0,16383]"), (16, "")])
def test_few_bits_in_files_of_sixteen(tmp_path: Path, bits: int, window: str) -> None:
    rng = np.random.default_rng(bits)
    for k in range(6):
        values = rng.integers(0, 2**bits, (16, 16), dtype=np.uint16)
        values[0, 0] = 2**bits - 1
        save(tmp_path, f"{'ab'[k % 2]}/{k}.png", values)
    warned = texts(check_data(Folder(root=str(tmp_path))), "warning")
    assert ("become dark" in warned) == bool(window)
    assert f"6 images of 16 bits have no value above {bits} bits" in warned or not window
    assert f"data.window={window} makes" in warned or not window


def near(image: np.ndarray) -> np.ndarray:
    """The same picture, a little brighter."""
    return (image.astype(int) + 1).clip(0, 255).astype(np.uint8)


def test_the_parts_of_the_source_are_counted_and_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for part in ("train", "val", "test"):
        for i in range(24):
            save(tmp_path, f"{part}/{'ab'[i % 2]}/{i}.png", rng.integers(0, 255, (32, 32), dtype=np.uint8))
    copied = np.asarray(Image.open(tmp_path / "train/a/0.png"))
    save(tmp_path, "val/a/copy.png", copied)
    save(tmp_path, "val/b/near.png", near(copied))
    report = check_data(Folder(root=str(tmp_path), validation="keep"))
    assert report.class_counts["validation"] == {"a": 13, "b": 13}
    warned = texts(report, "warning")
    assert "1 pictures are in train and validation" in warned
    assert "2 pairs of pictures are nearly equal, 1 of them in two parts" in warned
    assert "validation labels come from the 26 validation images" in warned


def test_planted_wrong_labels_are_found(tmp_path: Path) -> None:
    """30 of 1,797 digits get another label: most of them are among the first 30 that the check names."""
    digits, rng = Digits().load(), np.random.default_rng(3)
    labels, rows = digits.labels.numpy().copy(), rng.permutation(len(digits.labels))[:30]
    labels[rows] = (labels[rows] + rng.integers(1, 10, 30)) % 10
    planted = suspicious_labels(replace(digits, labels=torch.from_numpy(labels)))
    clean = suspicious_labels(digits)
    assert planted is not None
    images, names = suspicious_examples(replace(digits, labels=torch.from_numpy(labels)), planted)
    given, likely = int(labels[planted.rows[0]]), planted.likely[0]
    assert names[0] == f"{given}, looks like {likely}"
    assert (images[0][0] == digits.images[planted.rows[0]].movedim(0, 2).numpy()).all()
    assert max(len(one) for one in images) <= 12
    assert len(images) == len(names) <= 12
    assert clean is not None
    assert len(set(planted.rows[:30]) & set(rows.tolist())) >= 20
    assert len(clean.rows) <= 10
    marks = torch.zeros(len(labels), dtype=torch.bool)
    marks[rows] = True
    sealed = suspicious_labels(replace(digits, labels=torch.from_numpy(labels), official_test=marks))
    assert sealed is not None
    assert not set(sealed.rows) & set(rows.tolist()), "labels of the official test set are not read"
    np.savez(tmp_path / "wrong.npz", train_images=digits.images[:, 0].numpy(), train_labels=labels)
    warned = texts(check_data(Npz(root=str(tmp_path / "wrong.npz"))), "warning")
    assert f"{len(planted.rows)} labels look wrong to a probe of " in warned
    assert " looks like " in warned


def test_nearly_equal_pictures_across_parts_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for part, first in (("train", 0), ("test", 40)):
        for i in range(40):
            save(tmp_path, f"{part}/{'ab'[i % 2]}/{first + i}.png", rng.integers(0, 255, (32, 32), dtype=np.uint8))
    clean = check_data(Folder(root=str(tmp_path)))
    assert "nearly equal" not in texts(clean, "warning")
    picture = np.asarray(Image.open(tmp_path / "train/a/6.png"))
    save(tmp_path, "test/a/near.png", near(picture))
    save(tmp_path, "train/b/near.png", near(near(picture)))
    warned = texts(check_data(Folder(root=str(tmp_path))), "warning")
    assert "3 pairs of pictures are nearly equal, 2 of them in two parts: " in warned
    assert "train/a/6.png ~ " in warned


PROPERTIES = {
    "the size of the file's image": lambda root, k, i, a: save(root, f"{k}/{i}.png", a[: 16 + 4 * k, : 16 + 4 * k]),
    "the ending of the file's name": lambda root, k, i, a: save(root, f"{k}/{i}.{('png', 'bmp')[k]}", a),
    "whether it has more than 8 bits": lambda root, k, i, a: save(
        root, f"{k}/{i}.png", a.astype(np.uint16) * 257 if k else a
    ),
    "its highest value": lambda root, k, i, a: save(root, f"{k}/{i}.png", a.clip(0, 200 + 40 * k)),
    "its lowest value": lambda root, k, i, a: save(root, f"{k}/{i}.png", a.clip(5 + 40 * k, 255)),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_of_files_that_tell_the_classes_apart_are_named(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for i in range(60):
        PROPERTIES[name](tmp_path, i % 2, i, rng.integers(0, 256, (32, 32), dtype=np.uint8))
    warned = texts(check_data(Folder(root=str(tmp_path), image_size=16)), "warning")
    assert [one for one in PROPERTIES if f"{one} alone tells the class of 100%" in warned] == [name]


def test_groups_in_training_and_test_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for shared in (False, True):
        arrays = {
            f"{part}_{kind}": value
            for part, first in (("train", 0), ("test", 6 - shared))
            for kind, value in (
                ("images", rng.integers(0, 255, (12, 8, 8), dtype=np.uint8)),
                ("labels", np.arange(12) % 2),
                ("groups", first + np.arange(12) // 2),
            )
        }
        np.savez(tmp_path / "x.npz", **arrays)
        report = check_data(Npz(root=str(tmp_path / "x.npz")))
        assert f"{12 - shared} groups" in texts(report, "ok")
        assert ("1 of 11 groups have images on both sides of the official test set" in texts(report, "error")) == shared

from pathlib import Path

import numpy as np
import pytest
import torch
from tensor_datasets import save

from trigan.datasets.sources.folder import Folder
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

GREY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def test_classes_are_sorted_folders(folder: Path, digits: ImageDataset) -> None:
    source = Folder(root=str(folder)).load()
    assert source.class_names == ("digit0", "digit1", "digit2")
    assert source.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert torch.equal(source.images[:6], digits.images[digits.labels == 0][:6])
    assert source.official_test is None
    assert source.name == "images"


def test_fingerprint_does_not_depend_on_place_or_size(folder: Path, tmp_path: Path) -> None:
    first = Folder(root=str(folder)).load()
    folder.rename(tmp_path / "elsewhere")
    again = Folder(root=str(tmp_path / "elsewhere"), image_size=16, channels=3).load()
    assert again.fingerprint == first.fingerprint
    assert again.images.shape == (18, 3, 16, 16)


def test_cache_follows_the_files(folder: Path, tmp_path: Path) -> None:
    source = Folder(root=str(folder))
    before = source.load(tmp_path / "cache")
    assert source.load(tmp_path / "cache").fingerprint == before.fingerprint
    assert len(list((tmp_path / "cache" / "decoded").glob("*.safetensors"))) == 1
    save(folder, "digit2/new.png", GREY)
    assert len(source.load(tmp_path / "cache").labels) == 19


def test_parts(folder: Path) -> None:
    root = folder.parent / "parts"
    root.mkdir()
    folder.rename(root / "train")
    for k in range(3):
        save(root, f"test/digit{k}/a.png", GREY + k)
        save(root, f"val/digit{k}/a.png", GREY + 10 + k)
    save(root, "unlabelled/x/y.png", GREY + 20)
    source = Folder(root=str(root)).load()
    assert source.official_test.tolist() == [False] * 22 + [True] * 3
    assert source.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [0, 1, 2, -1, 0, 1, 2]


def test_mixed_modes_become_colour(folder: Path) -> None:
    save(folder, "digit0/z.png", np.dstack([GREY] * 3))
    source = Folder(root=str(folder)).load()
    assert source.spec.channels == 3
    assert torch.equal(source.images[0, 0], source.images[0, 2])
    assert Folder(root=str(folder), channels=1).load().spec.channels == 1


def test_mixed_and_odd_sizes(folder: Path) -> None:
    save(folder, "digit0/z.png", np.tile(GREY, (2, 3)))
    with pytest.raises(DataError, match=r"2 sizes \(8x8, 24x16.*data.image_size="):
        Folder(root=str(folder)).load()
    assert Folder(root=str(folder), image_size=12).load().spec.size == 12


def one(root: Path) -> None:
    save(root, "only/a.png", GREY)


def tiny(root: Path) -> None:
    save(root, "a/a.png", GREY[:2, :2])
    save(root, "b/b.png", GREY[:2, :2])


def broken(root: Path) -> None:
    save(root, "a/a.png", GREY)
    save(root, "b/b.png", GREY)
    (root / "b" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "holds no images"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: save(root, "a.png", GREY), "1 images but no class folders"),
        (one, "only one class \\('only'\\)"),
        (tiny, "a/a.png is 2x2 pixels, and the minimum is 8x8"),
        (broken, "b/bad.png is not a readable image"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "root")  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as error:
        Folder(root=str(tmp_path / "root")).load(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_root_is_needed() -> None:
    with pytest.raises(DataError, match=r"set data.root=FOLDER"):
        Folder().load()

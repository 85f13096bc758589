import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from trigan.datasets.sources.npz import Npz
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError


def arrays(digits: ImageDataset) -> dict[str, np.ndarray]:
    images, labels = digits.images[:, 0].numpy(), digits.labels.numpy()[:, None].astype(np.uint8)
    cuts = {"train": slice(0, 60), "val": slice(60, 80), "test": slice(80, 100)}
    return {f"{k}_{n}": a[rows] for k, rows in cuts.items() for n, a in (("images", images), ("labels", labels))}


@pytest.mark.parametrize("compressed", [True, False])
def test_medmnist_layout(tmp_path: Path, digits: ImageDataset, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "somemnist.npz", **arrays(digits))
    for root in (tmp_path / "somemnist.npz", tmp_path):
        source = Npz(root=str(root)).load()
        assert torch.equal(source.images, digits.images[:100])
        assert torch.equal(source.labels, digits.labels[:100])
        assert source.official_test.tolist() == [False] * 80 + [True] * 20
        assert source.name == "somemnist"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": None}, "has no train_images"),
        ({"train_labels": None}, "no train_labels"),
        ({"train_labels": np.zeros((60, 14), int)}, "several labels per image"),
        ({"train_labels": np.zeros(59, int)}, "60 images and 59 labels"),
        ({"train_labels": np.linspace(0, 1, 60)}, "must be integers"),
        ({"train_images": np.zeros((60, 8, 8), np.float32)}, r"train_images\[0\].*must be uint8"),
        ({"train_labels": np.arange(60) % 3 - 2}, "label -2 is out of range"),
    ],
)
def test_other_layouts_are_one_line(tmp_path: Path, digits: ImageDataset, change: dict, message: str) -> None:
    data = {key: value for key, value in (arrays(digits) | change).items() if value is not None}
    np.savez(tmp_path / "x.npz", **data)
    with pytest.raises(DataError, match=message) as error:
        Npz(root=str(tmp_path / "x.npz")).load()
    assert "\n" not in str(error.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set data.root=FILE.npz"):
        Npz().load()
    with pytest.raises(DataError, match="does not exist"):
        Npz(root=str(tmp_path / "no.npz")).load()
    with pytest.raises(DataError, match=r"holds 0 .npz files"):
        Npz(root=str(tmp_path)).load()
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DataError, match=r"not a readable .npz"):
        Npz(root=str(tmp_path / "x.npz")).load()


def idx(array: np.ndarray) -> bytes:
    """LeCun's format: two zero bytes, type, dimensions, sizes (big-endian), data."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("layout", ["npy", "keras", "idx", "gz"])
def test_folders_of_arrays(tmp_path: Path, digits: ImageDataset, layout: str) -> None:
    data = {key: value for key, value in arrays(digits).items() if not key.startswith("val")}
    for key, value in data.items():
        part, kind = key.split("_")
        value = value.ravel() if kind == "labels" else value
        if layout in ("npy", "keras"):
            name = key if layout == "npy" else f"{'x' if kind == 'images' else 'y'}_{part}"
            np.save(tmp_path / f"{name}.npy", value)
        else:
            name = f"{'t10k' if part == 'test' else part}-{kind}-idx{value.ndim}-ubyte"
            content = idx(value) if layout == "idx" else gzip.compress(idx(value))
            (tmp_path / (name if layout == "idx" else f"{name}.gz")).write_bytes(content)
    source = Npz(root=str(tmp_path)).load(tmp_path / "cache")
    expected = torch.cat([digits.images[:60], digits.images[80:100]])
    assert torch.equal(source.images, expected)
    assert int(source.official_test.sum()) == 20


def test_sixteen_bits_text_and_windows(tmp_path: Path, digits: ImageDataset) -> None:
    images = digits.images[:6, 0].numpy()
    labels = np.array(["ten", "nine"] * 3)
    np.savez(tmp_path / "x.npz", train_images=images.astype(np.uint16) * 257, train_labels=labels)
    source = Npz(root=str(tmp_path / "x.npz")).load()
    assert torch.equal(source.images, digits.images[:6])
    assert [source.class_names[k] for k in source.labels.tolist()] == labels.tolist()
    np.savez(tmp_path / "x.npz", train_images=images / 255.0 - 1, train_labels=labels)
    assert torch.equal(Npz(root=str(tmp_path / "x.npz"), window=(-1, 0)).load().images, digits.images[:6])


def test_one_hot_labels_say_what_to_save(tmp_path: Path, digits: ImageDataset) -> None:
    np.savez(tmp_path / "x.npz", train_images=digits.images[:6, 0].numpy(), train_labels=np.eye(6))
    with pytest.raises(DataError, match=r"save labels.argmax\(1\)"):
        Npz(root=str(tmp_path / "x.npz")).load()

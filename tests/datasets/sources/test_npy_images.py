"""Arrays that stay in their files give the data set that they give in memory; what cannot be read by row is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trigan.datasets import host_images
from trigan.datasets.data_check import check_data
from trigan.datasets.host_images import HostImages
from trigan.datasets.sources.npz import Npz
from trigan.errors import DataError


def write(folder: Path, shape: tuple[int, ...] = (8, 8, 3)) -> Path:
    draw = np.random.default_rng(0)
    for part, count in (("train", 30), ("val", 10), ("test", 12)):
        np.save(folder / f"{part}_images.npy", draw.integers(0, 256, (count, *shape), dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(count) % 3)
    return folder


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (9, 9, 3)])
@pytest.mark.parametrize("validation", ["keep", "merge", "leave_out"])
def test_the_same_data_set(shape: tuple[int, ...], validation: str, tmp_path: Path) -> None:
    root = str(write(tmp_path, shape))
    inside = Npz(root=root, validation=validation).load()
    for _ in range(2):  # the second time from the cache
        stays = Npz(root=root, validation=validation, in_memory=False).load(tmp_path / "cache")
        assert isinstance(stays.images, HostImages)
        assert torch.equal(stays.images.read(), inside.images)
        for name in ("labels", "digests", "official_test", "official_validation"):
            one, other = getattr(stays, name), getattr(inside, name)
            assert (one is None and other is None) or torch.equal(one, other)
        assert (stays.fingerprint, stays.spec, stays.notes) == (inside.fingerprint, inside.spec, inside.notes)


def test_the_cache_holds_no_image(tmp_path: Path) -> None:
    root, cache = str(write(tmp_path, (64, 64, 3))), tmp_path / "cache"
    Npz(root=root, in_memory=False).load(cache)
    assert sum(path.stat().st_size for path in cache.rglob("*")) < 52 * 64 * 64
    known = Npz(root=root, in_memory=False).known(cache)
    assert known is not None
    assert known[0] == Npz(root=root).load().fingerprint


def _cut(folder: Path) -> None:
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _archive(folder: Path) -> None:
    np.savez(folder / "all.npz", **{path.stem: np.load(path) for path in folder.glob("*.npy")})


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an archive": (_archive, "has no train_images.npy"),
    "16 bits": (lambda d: np.save(d / "val_images.npy", np.zeros((10, 8, 8, 3), np.uint16)), "holds uint16"),
    "no square": (lambda d: np.save(d / "val_images.npy", np.zeros((10, 8, 9, 3), np.uint8)), r"\(10, 8, 9, 3\)"),
    "by column": (lambda d: np.save(d / "val_images.npy", np.zeros((10, 8, 8, 3), np.uint8, order="F")), "by column"),
    "two shapes": (lambda d: np.save(d / "val_images.npy", np.zeros((10, 9, 9, 3), np.uint8)), "unlike images"),
    "cut off": (_cut, "shorter than its header"),
    "no array": (lambda d: (d / "val_images.npy").write_bytes(b"text"), "not a readable array"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_cannot_be_read_by_row_is_refused(name: str, tmp_path: Path) -> None:
    change, message = CHANGES[name]
    change(write(tmp_path))
    with pytest.raises(DataError, match=message):
        Npz(root=str(tmp_path), in_memory=False).load()


@pytest.mark.parametrize("setting", [{"image_size": 16}, {"channels": 1}, {"window": (0, 9)}])
def test_images_are_not_changed(setting: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trained on as they are stored, 8x8 with 3 channels"):
        Npz(root=str(write(tmp_path)), in_memory=False, **setting).load()


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    images = Npz(root=str(write(tmp_path)), in_memory=False).load().images
    _cut(tmp_path)
    with pytest.raises(DataError, match="ended while it was read"):
        images[20:30].float()


def test_arrays_larger_than_memory_are_told_how_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(write(tmp_path))
    size = (tmp_path / "train_images.npy").stat().st_size
    monkeypatch.setattr("trigan.datasets.sources.npz.free_bytes", lambda device: 2 * size - 1)
    with pytest.raises(DataError, match=r"train_images\.npy has .*set data\.in_memory=false"):
        Npz(root=root).load()
    assert len(Npz(root=root, in_memory=False).load().images) == 52
    monkeypatch.setattr("trigan.datasets.sources.npz.free_bytes", lambda device: 2 * size)
    assert len(Npz(root=root).load().images) == 52


def test_a_check_of_the_data_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portion by portion: no operation reads all images at once."""
    images = np.random.default_rng(1).integers(0, 256, (600, 8, 8, 3), dtype=np.uint8)
    images[500:520], images[7] = images[:20], 0
    images[521] = images[3] + (images[3] < 255)
    np.save(tmp_path / "train_images.npy", images)
    np.save(tmp_path / "train_labels.npy", np.arange(600) % 3)
    monkeypatch.setattr(host_images, "LARGEST_READ", 256 * 8 * 8 * 3)
    inside, stays = (check_data(Npz(root=str(tmp_path), in_memory=kept)) for kept in (True, False))
    assert stays == inside
    assert any("all black" in text for _, text in stays.findings)

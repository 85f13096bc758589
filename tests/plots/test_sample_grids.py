"""Sample grids show exactly the given pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from trigan.errors import DataError
from trigan.plots.sample_grids import save_sample_grid, save_samples_over_training


def digits(columns: int = 4) -> np.ndarray:
    data = load_digits()
    images = (data.images[..., None] * 15.9).astype(np.uint8)
    return np.stack([images[data.target == label][:columns] for label in range(10)])


def test_pixels_are_enlarged_by_a_whole_number(tmp_path: Path) -> None:
    images = digits()
    save_sample_grid(images, tmp_path / "sheet.png")
    page = np.asarray(Image.open(tmp_path / "sheet.png"))
    # Without names the margin is 8 on each side; 8 pixels become 40, with 2 between images.
    assert page.shape == (8 + 10 * 42 - 2 + 8, 8 + 4 * 42 - 2 + 8, 3)
    second = page[8 + 42 : 8 + 82, 8 + 42 : 8 + 82]
    assert (second == images[1, 1].repeat(5, 0).repeat(5, 1)).all()


def test_colour_and_names(tmp_path: Path) -> None:
    colour = np.zeros((2, 3, 32, 32, 3), dtype=np.uint8)
    colour[..., 0] = 200
    save_sample_grid(colour, tmp_path / "a.png", ["cat", "a rather long name of a class"])
    page = np.asarray(Image.open(tmp_path / "a.png"))
    assert (page.reshape(-1, 3) == (200, 0, 0)).all(axis=1).sum() == 2 * 3 * 64 * 64
    assert (page[:, :60] < 128).any()


def test_snapshots_are_ordered_and_thinned(tmp_path: Path) -> None:
    shots = [(1000 * i, np.full((10, 4, 8, 8, 1), 20 * i, dtype=np.uint8)) for i in reversed(range(11))]
    save_samples_over_training(shots, tmp_path / "a.png", columns=2)
    page = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    middle = page[page.shape[0] // 2 + 5]
    shown = [value for value in dict.fromkeys(middle.tolist()) if value in range(0, 220, 20)]
    assert shown == [0, 40, 80, 120, 160, 200]


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_samples_over_training([(0, digits()), (64_000, digits())], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 2, 8, 8, 1)), np.zeros((2, 2, 8, 8, 4), np.uint8), np.zeros((0, 2, 8, 8, 1), np.uint8)]
)
def test_invalid_images_are_refused(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="a sheet takes"):
        save_sample_grid(bad, tmp_path / "a.png")
    with pytest.raises(DataError, match="takes 10 names, got 1"):
        save_sample_grid(digits(), tmp_path / "a.png", ["one"])
    with pytest.raises(DataError, match="empty"):
        save_samples_over_training([], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()

"""Images outside any data set: what a folder holds and is not classified is named."""

from pathlib import Path

import numpy as np
import pytest
from tensor_datasets import save

from trigan.datasets.image_files import find_files, read_images
from trigan.datasets.sources.geometry import Geometry
from trigan.datasets.sources.hub import Columns
from trigan.errors import DataError


def test_files_that_are_not_classified_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path, "a/x.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert find_files(tmp_path) == [tmp_path / "a/x.png"]
    assert caplog.text == ""
    (tmp_path / "a/y.heic").write_text("x")
    (tmp_path / "a/z.png").symlink_to("nowhere.png")
    files = find_files(tmp_path)
    assert "not read: 1 files that end in .heic (a/y.heic); 1 links to nothing (a/z.png)" in caplog.text
    (image,) = read_images(files, Geometry(8, 1), Columns())
    assert image.pixels is not None
    assert image.pixels[0].ravel().tolist() == list(range(64))
    with pytest.raises(DataError, match="holds no images"):
        find_files(save(tmp_path, "none/x.png", np.zeros((8, 8), np.uint8)).rename(tmp_path / "none/x.txt").parent)

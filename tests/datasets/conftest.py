"""Small real images for the data room's tests."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensor_datasets import from_tensors

from trigan.datasets.sources.digits import Digits
from trigan.datasets.types import ImageDataset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    return Digits().load()


@pytest.fixture(scope="session")
def with_test(digits: ImageDataset) -> ImageDataset:
    """The digits, their last 500 marked as an official test set."""
    marks = torch.arange(len(digits.labels)) >= len(digits.labels) - 500
    return from_tensors("digits-official", digits.images, digits.labels, marks)


@pytest.fixture
def folder(tmp_path: Path, digits: ImageDataset) -> Path:
    """root/CLASS/*.png: 6 images of each of three digits."""
    root = tmp_path / "images"
    for k in range(3):
        (root / f"digit{k}").mkdir(parents=True)
        for i, image in enumerate(digits.images[digits.labels == k][:6]):
            Image.fromarray(image[0].numpy()).save(root / f"digit{k}" / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    place = os.environ.get("TRIGAN_TEST_DATA")
    if not place:
        pytest.skip("TRIGAN_TEST_DATA names no folder with mnist/ and cifar10-jpeg/")
    return Path(place)

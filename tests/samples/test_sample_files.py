"""Class names of any kind become folders that a data source reads as classes."""

from pathlib import Path

import torch

from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.hub import Hub
from trigan.samples.sample_files import folder_names, folder_writer, parquet_writer

torch.set_num_threads(1)

IMAGES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def test_folder_names_are_safe_and_distinct() -> None:
    assert folder_names(["cat", "a/b", ".hidden", "..", "", "A_b", "tench, Tinca"]) == [
        "cat",
        "a_b",
        "_hidden",
        "_.",
        "_",
        "A_b_5",
        "tench, Tinca",
    ]


def test_a_class_named_train_is_a_class(tmp_path: Path) -> None:
    with folder_writer(tmp_path / "f", ["bus", "car", "train"]) as writer:
        writer.write(IMAGES[:2], LABELS[:2])
        writer.write(IMAGES[2:], LABELS[2:])
    source = Folder(str(tmp_path / "f")).load()
    assert source.class_names == ("bus", "car", "train")
    assert torch.equal(source.images, IMAGES[[0, 3, 1, 4, 2, 5]])


def test_parquet_keeps_names_that_folders_cannot_have(tmp_path: Path) -> None:
    names = ["a/b", "..", "train"]
    with parquet_writer(tmp_path, names) as writer:
        writer.write(IMAGES, LABELS)
    source = Hub(root=str(tmp_path)).load()
    assert source.class_names == tuple(names)
    assert torch.equal(source.images, IMAGES)
    assert torch.equal(source.labels, LABELS)

"""Groups of images as sources read them, and what `trigan data check` says of them."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from trigan.commands.main import main
from trigan.datasets.data_check import check_data
from trigan.datasets.sources.hub import Columns, Hub, SplitNames
from trigan.datasets.sources.npz import Npz
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.groups import group_numbers
from trigan.datasets.splits.regime import Regime
from trigan.datasets.types import ImageDataset
from trigan.errors import DataError

PATIENTS = [None if i % 10 == 9 else f"p{i // 4}" for i in range(60)]


@pytest.fixture
def parquet(tmp_path: Path, digits: ImageDataset) -> Path:
    """60 training images of patients, every tenth without one."""
    pictures = [Image.fromarray(image[0].numpy()) for image in digits.images[:60]]
    columns = {"image": pictures, "label": digits.labels[:60].tolist(), "patient": PATIENTS}
    kinds = {"image": datasets.Image(), "label": datasets.Value("int64"), "patient": datasets.Value("string")}
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    data.to_parquet(tmp_path / "train-0.parquet")
    return tmp_path


def test_a_column_gives_the_groups_and_the_cache_keeps_them(parquet: Path, tmp_path: Path) -> None:
    source = Hub(root=str(parquet), columns=Columns(group="patient"), splits=SplitNames(test=None))
    first, again = source.load(tmp_path / "cache"), source.load(tmp_path / "cache")
    assert first.groups is not None
    assert again.groups is not None
    for one in (first, again):
        groups = one.groups.tolist()  # type: ignore[union-attr]
        assert [group == -1 for group in groups] == [name is None for name in PATIENTS]
        assert len(set(groups) - {-1}) == len(set(PATIENTS) - {None})
        assert all((groups[i] == groups[j]) == (PATIENTS[i] == PATIENTS[j]) for i in range(60) for j in range(i))
    plain = Hub(root=str(parquet), splits=SplitNames(test=None)).load(tmp_path / "cache")
    assert plain.groups is None
    assert plain.fingerprint != first.fingerprint == again.fingerprint
    numbers = group_numbers(first)
    assert numbers is not None
    assert numbers.max() + 1 == len(set(PATIENTS) - {None}) + 6, "an image without a patient is alone"


def test_a_missing_column_is_named(parquet: Path) -> None:
    source = Hub(root=str(parquet), columns=Columns(group="slide"), splits=SplitNames(test=None))
    with pytest.raises(
        DataError, match=r"data.group=slide: split 'train' has no such column \(image, label, patient\)"
    ):
        source.load()


def test_an_archive_has_its_groups_beside_the_labels(tmp_path: Path, digits: ImageDataset) -> None:
    arrays = {"train_images": digits.images[:60, 0].numpy(), "train_labels": digits.labels[:60].numpy()}
    np.savez(tmp_path / "a.npz", **arrays, train_groups=np.arange(60) // 5)
    groups = Npz(root=str(tmp_path / "a.npz")).load().groups
    assert groups is not None
    assert len(groups.unique()) == 12
    np.savez(tmp_path / "b.npz", **arrays, train_groups=np.arange(59))
    with pytest.raises(DataError, match="train has 60 images and 59 groups; they must match"):
        Npz(root=str(tmp_path / "b.npz")).load()


def test_the_check_tells_groups_leaks_and_classes_of_one_group(tmp_path: Path, digits: ImageDataset) -> None:
    two = digits.labels < 2
    images, labels = digits.images[two][:90, 0].numpy(), digits.labels[two][:90].numpy()
    groups = np.where(labels == 1, 99, np.arange(90) // 6)
    arrays = {"train_images": images[:60], "train_labels": labels[:60], "train_groups": groups[:60]}
    np.savez(tmp_path / "a.npz", **arrays)
    report = check_data(Npz(root=str(tmp_path / "a.npz")))
    found = "\n".join(f"{level}: {text}" for level, text in report.findings)
    assert "ok: 11 groups of 1 to 31 images" in found or "groups of" in found
    assert "warning: all images of 1 are in one group, which cannot both train and test" in found
    test = {"test_images": images[60:], "test_labels": labels[60:], "test_groups": groups[60:]}
    np.savez(tmp_path / "b.npz", **arrays, **test)
    report = check_data(Npz(root=str(tmp_path / "b.npz")))
    assert report.level == "error"
    assert any("1 of " in text and "both sides of the official test set" in text for _, text in report.findings)


def test_blood_cells_of_a_slide_stay_together(real_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = real_data / "blood_cells"
    if not root.is_dir():
        pytest.skip("no blood_cells in TRIGAN_TEST_DATA")
    assert main(["data", "check", "data=hub", f"data.root={root}", "data.group=slide"]) == 0
    out = capsys.readouterr().out
    assert "ok: 364 groups of 1 to 30 images" in out
    assert "945 test of 72 groups" in out
    cells = Hub(root=str(root), columns=Columns(group="slide"), splits=SplitNames(test=None)).load()
    groups = group_numbers(cells)
    assert groups is not None
    for regime in (Regime(), Regime(labels_per_class=20)):
        info = draw_split(cells, regime, 0)
        sets = [set(groups[rows].tolist()) for _, rows in info.parts.items()]
        assert not any(one & other for i, one in enumerate(sets) for other in sets[:i])
        labels = cells.labels.numpy()
        shares = np.bincount(labels[info.parts.test]) / np.bincount(labels)
        assert shares == pytest.approx([0.3] * 3, abs=0.02)

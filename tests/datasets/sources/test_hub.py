import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tensor_datasets import from_tensors

from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.hub import Columns, Hub, SplitNames
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError


def encoded(digits: ImageDataset, rows: slice) -> dict[str, list[Any]]:
    def png(image: torch.Tensor) -> dict[str, Any]:
        buffer = io.BytesIO()
        Image.fromarray(image[0].numpy()).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    return {"image": [png(image) for image in digits.images[rows]], "label": digits.labels[rows].tolist()}


def write(
    root: Path, name: str, columns: dict[str, list[Any]], names: list[str] | None = None, image: str = "image"
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    kinds = {key: datasets.Image() for key in columns if key.startswith(("image", "img"))}
    if names:
        kinds["label"] = datasets.ClassLabel(names=names)
    for key, values in columns.items():
        if key not in kinds:
            kinds[key] = datasets.Value("string" if isinstance(values[0], str) else "int64")
    datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).to_parquet(root / name)


TEN = [f"digit {k}" for k in range(10)]


@pytest.fixture
def root(tmp_path: Path, digits: ImageDataset) -> Path:
    place = tmp_path / "set"
    write(place, "train-00000-of-00001.parquet", encoded(digits, slice(0, 60)), TEN)
    write(place, "test-00000-of-00001.parquet", encoded(digits, slice(60, 80)), TEN)
    return place


def test_local_parquet_is_the_data(root: Path, digits: ImageDataset) -> None:
    source = Hub(root=str(root)).load()
    assert torch.equal(source.images, digits.images[:80])
    assert torch.equal(source.labels, digits.labels[:80])
    assert source.class_names == tuple(TEN)
    assert source.official_test.tolist() == [False] * 60 + [True] * 20
    marked = from_tensors("other way", digits.images[:80], digits.labels[:80], source.official_test)
    assert source.fingerprint == marked.fingerprint


@pytest.mark.parametrize("place", ["data", "small", "."])
def test_usual_places(root: Path, place: str) -> None:
    nested = root.parent / "nested"
    (nested / place).mkdir(parents=True)
    for file in root.glob("*.parquet"):
        file.rename(nested / place / file.name)
    assert len(Hub(root=str(nested), config="small").load().labels) == 80


def test_a_folder_per_split(root: Path) -> None:
    for split in ("train", "test"):
        (root / split).mkdir()
        next(root.glob(f"{split}-*")).rename(root / split / "0000.parquet")
    assert int(Hub(root=str(root)).load().official_test.sum()) == 20


def test_folder_reads_parquet_too(root: Path) -> None:
    assert Folder(root=str(root)).load().fingerprint == Hub(root=str(root)).load().fingerprint


def test_no_network_is_touched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(Hub(repo="ylecun/mnist", root=str(root)).load().labels) == 80


def test_missing_test_split_is_named_or_left_out(root: Path) -> None:
    next(root.glob("test-*")).unlink()
    (root / "train-00000-of-00001.parquet").rename(root / "train.parquet")
    with pytest.raises(DataError, match=r"no test-\*.parquet .*data.source.splits.test=NAME \(null"):
        Hub(root=str(root)).load()
    source = Hub(root=str(root), splits=SplitNames(test=None)).load()
    assert source.official_test is None
    (root / "train.parquet").rename(root / "pictures.parquet")
    assert Hub(root=str(root)).load().fingerprint == source.fingerprint


def test_unlabelled_split(root: Path, digits: ImageDataset) -> None:
    columns = {"image": encoded(digits, slice(80, 90))["image"]}
    write(root, "unlabeled-00000-of-00001.parquet", columns)
    source = Hub(root=str(root), splits=SplitNames(unlabelled="unlabeled")).load()
    assert source.labels[60:70].tolist() == [-1] * 10
    assert source.official_test[70:].all()


def test_columns_are_found_if_there_is_one_choice(tmp_path: Path, digits: ImageDataset) -> None:
    columns = encoded(digits, slice(0, 30))
    texts = [f"is {k}" for k in columns["label"]]
    write(tmp_path / "a", "train-0.parquet", {"img": columns["image"], "target": texts})
    source = Hub(root=str(tmp_path / "a"), splits=SplitNames(test=None)).load()
    assert source.class_names[3] == "is 3"
    more = {"img": columns["image"], "a": columns["label"], "b": columns["label"]}
    write(tmp_path / "b", "train-0.parquet", more)
    unclear = {"root": str(tmp_path / "b"), "splits": SplitNames(test=None)}
    with pytest.raises(
        DataError, match=r"label column 'label' not found among img, a, b; set data.source.columns.label="
    ):
        Hub(**unclear).load()
    assert torch.equal(Hub(**unclear, columns=Columns(label="b")).load().labels, digits.labels[:30])
    write(
        tmp_path / "c",
        "train-0.parquet",
        {"img1": columns["image"], "img2": columns["image"], "label": columns["label"]},
    )
    with pytest.raises(DataError, match="image column 'image' not found among img1, img2, label"):
        Hub(root=str(tmp_path / "c"), splits=SplitNames(test=None)).load()


def test_bad_rows_and_labels_are_named(tmp_path: Path, digits: ImageDataset) -> None:
    columns = encoded(digits, slice(0, 30))
    columns["image"][7] = {"bytes": b"rubbish", "path": None}
    write(tmp_path / "a", "train-0.parquet", columns)
    with pytest.raises(DataError, match="a, train row 7 is not a readable image"):
        Hub(root=str(tmp_path / "a"), splits=SplitNames(test=None)).load()
    far = encoded(digits, slice(0, 30))
    far["label"][3] = -7
    write(tmp_path / "b", "train-0.parquet", far)
    with pytest.raises(DataError, match="label -7 is out of range"):
        Hub(root=str(tmp_path / "b"), splits=SplitNames(test=None)).load()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "train-0.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match="cannot read split 'train'") as error:
        Hub(root=str(tmp_path / "c"), splits=SplitNames(test=None)).load()
    assert "\n" not in str(error.value)


def test_missing_roots(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Hub(root=str(tmp_path / "no")).load()
    with pytest.raises(DataError, match="holds no Parquet files"):
        Hub(root=str(tmp_path)).load()
    with pytest.raises(ConfigError, match=r"data.repo=OWNER/NAME"):
        Hub()


def test_the_hub_is_called_as_configured(monkeypatch: pytest.MonkeyPatch, digits: ImageDataset) -> None:
    calls = []

    def load(repo: str, config: str | None, *, split: str, revision: str | None) -> Any:
        calls.append((repo, config, split, revision))
        rows = slice(0, 50) if split == "train" else slice(50, 70)
        kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=TEN)})
        return datasets.Dataset.from_dict(encoded(digits, rows), features=kinds)

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = Hub(repo="owner/things", config="big", revision="abc").load()
    assert calls == [("owner/things", "big", "train", "abc"), ("owner/things", "big", "test", "abc")]
    assert source.name == "things"
    assert torch.equal(source.images, digits.images[:70])


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> Any:
        raise ConnectionError("Couldn't reach 'owner/things'\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"owner/things from the hub: .*set data.root=FOLDER") as error:
        Hub(repo="owner/things").load()
    assert "\n" not in str(error.value)


def test_real_mnist_has_both_of_its_splits(real_data: Path) -> None:
    """Its 70,000 rows are read, and not decoded: that takes a minute of a busy machine, and is the next test's."""
    items, names = Hub(repo="ylecun/mnist", root=str(real_data / "mnist")).listing()
    assert names == [str(digit) for digit in range(10)]
    assert Counter(item.part for item in items) == {"train": 60000, "test": 10000}


@pytest.mark.slow
def test_real_mnist_in_full(real_data: Path) -> None:
    source = Hub(repo="ylecun/mnist", root=str(real_data / "mnist")).load()
    assert source.images.shape == (70000, 1, 28, 28)
    assert int(source.official_test.sum()) == 10000
    assert torch.bincount(source.labels[:60000])[:3].tolist() == [5923, 6742, 5958]


def test_real_mnist_is_decoded_once(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(repo="ylecun/mnist", root=str(real_data / "mnist"), splits=SplitNames(train="test", test=None))
    first = hub.load(tmp_path)
    assert first.images.shape == (10000, 1, 28, 28)
    assert torch.bincount(first.labels)[:3].tolist() == [980, 1135, 1032]
    monkeypatch.setattr(Image, "open", lambda *given: pytest.fail("decoded again"))
    second = hub.load(tmp_path)
    assert second.fingerprint == first.fingerprint
    assert np.array_equal(second.images.numpy(), first.images.numpy())


def test_real_cifar_has_its_columns(real_data: Path) -> None:
    hub = Hub(
        root=str(real_data / "cifar10-jpeg"), splits=SplitNames(train="test", test=None), columns=Columns(image="img")
    )
    source = hub.load()
    assert source.images.shape == (10000, 3, 32, 32)
    assert source.class_names[3] == "cat"


def test_a_missing_network_is_one_line() -> None:
    code = "from pathlib import Path; from trigan.datasets.sources.hub import Hub; Hub(repo='owner/things').load()"
    left_out = ("http_proxy", "https_proxy", "all_proxy", "hf_hub_offline")
    kept = {name: value for name, value in os.environ.items() if name.lower() not in left_out}
    nowhere = {**kept, "HF_ENDPOINT": "http://nowhere.invalid"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=nowhere, check=False)
    assert "Retrying" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("Traceback"), "nothing is said before the error"
    assert "DataError: cannot get split 'train' of owner/things from the hub" in done.stderr

"""Split files: what they say, what they keep to themselves, and every rule that one can break."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensor_datasets import from_tensors

from trigan.datasets.sources.folder import Folder
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import SymmetricNoise
from trigan.datasets.splits.regime import Regime
from trigan.datasets.splits.split_file import (
    RegimeFromFile,
    SplitFile,
    content_digest,
    split_digest,
    split_file_bytes,
    split_file_content,
)
from trigan.datasets.splits.splitter import DataSplit, index_digest
from trigan.datasets.types import ImageDataset
from trigan.errors import ConfigError, DataError

PARTS = ("labelled", "validation", "unlabelled", "test")
Change = Callable[[dict[str, Any]], None]


def export(source: ImageDataset, drawn: DataSplit, path: Path, change: Change | None = None) -> RegimeFromFile:
    """The draw as a file, maybe changed, with digests that are right again unless the change was to them."""
    found = split_file_content(source, drawn, {"labels_per_class": 3}, None)
    if change is not None:
        change(found)
    path.write_bytes(split_file_bytes(found))
    return RegimeFromFile(str(path))


def with_new_digests(found: dict[str, Any]) -> None:
    for part in PARTS:
        found[part]["sha256"] = index_digest(np.array(found[part]["indices"]))
    found["digest"] = split_digest(found)


def with_copies(digits: ImageDataset) -> ImageDataset:
    """Digits with copies of some images, a few of them under another label or none."""
    copies = torch.arange(0, 600, 2)
    labels = digits.labels[copies].clone()
    labels[:4] = (labels[:4] + 1) % 10
    labels[4:8] = -1
    return from_tensors("copies", torch.cat([digits.images, digits.images[copies]]), torch.cat([digits.labels, labels]))


@pytest.mark.parametrize(
    "regime",
    [
        Regime(labels_per_class=10),
        Regime(labels_per_class=20, noise=SymmetricNoise(0.4)),
        Regime(labels_per_class=5, validation="large"),
        Regime(fraction=0.5, unlabelled="none"),
    ],
    ids=["few", "noise", "val-large", "half"],
)
@pytest.mark.parametrize("kind", ["redrawn", "official", "copies"])
def test_an_exported_split_equals_the_draw(
    digits: ImageDataset, with_test: ImageDataset, regime: Regime, kind: str, tmp_path: Path
) -> None:
    source = {"redrawn": digits, "official": with_test, "copies": with_copies(digits)}[kind]
    drawn = draw_split(source, regime, 2)
    again = draw_split(source, export(source, drawn, tmp_path / "split.json"), 2)
    assert again.info == drawn.info
    assert torch.equal(again.view.training_images, drawn.view.training_images)
    for one, other in ((again.view.labelled, drawn.view.labelled), (again.view.validation, drawn.view.validation)):
        if other is None:
            assert one is None
        else:
            assert one is not None
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
    assert torch.equal(again.view.unlabelled, drawn.view.unlabelled)
    test, original = again.test.open("x"), drawn.test.open("x")
    assert torch.equal(test.images, original.images)
    assert torch.equal(test.labels, original.labels)
    assert (drawn.split_file_digest, again.split_file_digest) == (None, content_digest(str(tmp_path / "split.json")))


def test_the_file_holds_no_hidden_label(digits: ImageDataset) -> None:
    """Whatever the labels of test and unlabelled images are, the file is the same but for the data set's mark."""
    drawn = draw_split(digits, Regime(labels_per_class=3), 0)
    found = split_file_content(digits, drawn, {}, [f"{k}/{i}.png" for i, k in enumerate(digits.labels.tolist())])
    for part in ("unlabelled", "test"):
        assert set(found[part]) == {"sha256", "indices"}
        assert found[part]["indices"] == sorted(found[part]["indices"])
    rows = found["labelled"]["indices"]
    assert found["labelled"]["labels"] == digits.labels[rows].tolist()
    assert found["labelled"]["paths"] == [f"{digits.labels[row]}/{row}.png" for row in rows]
    hidden = digits.labels.clone()
    secret = np.concatenate([drawn.parts.unlabelled, drawn.parts.test])
    hidden[secret] = (hidden[secret] + 1) % 10
    other = split_file_content(replace(digits, labels=hidden), drawn, {}, None)
    for part in PARTS:
        assert {**other[part], "paths": 0} == {**found[part], "paths": 0}


def test_the_digest_is_the_documented_one(digits: ImageDataset) -> None:
    import hashlib

    found = split_file_content(digits, draw_split(digits, Regime(labels_per_class=2), 4), {}, None)
    labels = json.dumps(found["labelled"]["labels"]).replace(" ", "")
    parts = {part: found[part]["sha256"] for part in PARTS}
    text = (
        f'{{"fingerprint":"{digits.fingerprint}","labelled":{{"labels":{labels},"sha256":"{parts["labelled"]}"}},'
        f'"labels_changed":0,"stamps":[],"test":{{"sha256":"{parts["test"]}"}},"trial":4,'
        f'"unlabelled":{{"sha256":"{parts["unlabelled"]}"}},'
        f'"validation":{{"labels":[],"sha256":"{parts["validation"]}"}}}}'
    )
    assert found["digest"] == hashlib.sha256(text.encode()).hexdigest()


def test_paths_of_a_folder_are_in_source_order(folder: Path) -> None:
    source = Folder(root=str(folder), image_size=8)
    paths = source.paths()
    assert paths is not None
    assert paths[:2] == ["digit0/0.png", "digit0/1.png"]
    assert len(paths) == len(source.load().labels)


def move(found: dict[str, Any], part: str, other: str, keep: bool = False) -> None:
    """The first image of a part into another one that has no labels."""
    row = found[part]["indices"][0]
    if not keep:
        found[part]["indices"] = found[part]["indices"][1:]
    found[other]["indices"] = sorted([*found[other]["indices"], row])


def label(found: dict[str, Any], value: int) -> None:
    found["labelled"]["labels"][0] = value


def without(found: dict[str, Any], klass: int) -> None:
    kept = [
        (i, k) for i, k in zip(found["labelled"]["indices"], found["labelled"]["labels"], strict=True) if k != klass
    ]
    found["labelled"].update({"indices": [i for i, _ in kept], "labels": [k for _, k in kept]})


WRONG: dict[str, tuple[Change, str]] = {
    "fingerprint": (lambda f: f["data"].update(fingerprint="0" * 64), "splits another data set: digits-official with"),
    "overlap": (lambda f: move(f, "unlabelled", "test", keep=True), "is in both unlabelled and test"),
    "range": (
        lambda f: f["unlabelled"]["indices"].append(9999),
        "image 9999 of unlabelled does not exist: digits-official has 1797 images",
    ),
    "test set": (
        lambda f: move(f, "test", "unlabelled"),
        "its 499 test images are not the official test set of digits",
    ),
    "class": (lambda f: without(f, 7), "class '7' has no labelled image; add some"),
    "label": (lambda f: label(f, 10), "there is label 10, and classes are 0..9"),
    "changed": (lambda f: label(f, (f["labelled"]["labels"][0] + 1) % 10), "1 labels differ from those of digits"),
    "hidden": (
        lambda f: f["test"].update(labels=[0] * 500),
        "test.labels: does not belong in the file, because the labels of this part are hidden",
    ),
    "order": (lambda f: f["test"]["indices"].reverse(), "test.indices: expected ascending, each once"),
    "numbers": (lambda f: f["test"]["indices"].append(True), "test.indices.500: True, expected a valid integer"),
    "version": (lambda f: f.update(version=2), "version: 2, expected 1"),
    "format": (lambda f: f.pop("format"), "is not a split file"),
    "missing": (lambda f: f.pop("stamps"), "stamps is missing"),
    "kind": (lambda f: f.update(trial="one"), "trial: 'one', expected a valid integer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(name: str, with_test: ImageDataset, tmp_path: Path) -> None:
    change, line = WRONG[name]

    def changed(found: dict[str, Any]) -> None:
        change(found)
        if name not in ("numbers", "missing", "hidden"):
            with_new_digests(found)

    regime = export(with_test, draw_split(with_test, Regime(labels_per_class=3), 0), tmp_path / "s.json", changed)
    with pytest.raises(DataError, match=r"s\.json") as caught:
        draw_split(with_test, regime, 0)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda found: found["test"].update(sha256="0" * 64),
            "test.sha256 is not that of its indices",
        ),
        (lambda found: found.update(stamps=["none"]), "digest is not that of the content"),
    ],
)
def test_a_digest_that_does_not_match_is_refused(
    change: Change, line: str, digits: ImageDataset, tmp_path: Path
) -> None:
    regime = export(digits, draw_split(digits, Regime(labels_per_class=3), 0), tmp_path / "s.json", change)
    with pytest.raises(DataError, match=line):
        draw_split(digits, regime, 0)


def test_equal_pixels_in_two_parts_are_refused(digits: ImageDataset, tmp_path: Path) -> None:
    source = from_tensors("twice", torch.cat([digits.images] * 2), torch.cat([digits.labels] * 2))
    drawn, first = draw_split(source, Regime(labels_per_class=3), 0), len(digits.labels)

    def split_a_pair(found: dict[str, Any]) -> None:
        row = next(row for row in found["test"]["indices"] if row >= first)
        found["test"]["indices"].remove(row)
        found["unlabelled"]["indices"] = sorted([*found["unlabelled"]["indices"], row])
        with_new_digests(found)

    with pytest.raises(DataError, match=r"of unlabelled and image .* of test have the same pixels"):
        draw_split(source, export(source, drawn, tmp_path / "s.json", split_a_pair), 0)


def test_a_copy_under_another_label_does_not_train(digits: ImageDataset, tmp_path: Path) -> None:
    source = with_copies(digits)
    drawn = draw_split(source, Regime(labels_per_class=3), 0)
    unlabelled = set(drawn.parts.unlabelled.tolist())
    odd = next(len(digits.labels) + i for i in range(8) if 2 * i in unlabelled)

    def add(found: dict[str, Any]) -> None:
        found["unlabelled"]["indices"] = sorted([*found["unlabelled"]["indices"], odd])
        with_new_digests(found)

    with pytest.raises(DataError, match=f"image {odd} of unlabelled has the same pixels as an earlier image"):
        draw_split(source, export(source, drawn, tmp_path / "s.json", add), 0)


def test_another_trial_is_refused(digits: ImageDataset, tmp_path: Path) -> None:
    regime = export(digits, draw_split(digits, Regime(labels_per_class=3), 1), tmp_path / "s.json")
    with pytest.raises(DataError, match="is the split of trial 1, and this run has trial=0"):
        draw_split(digits, regime, 0)


def test_no_file(digits: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set regime\.split=FILE"):
        draw_split(digits, RegimeFromFile(), 0)
    with pytest.raises(DataError, match="cannot read the split file"):
        draw_split(digits, RegimeFromFile(str(tmp_path / "none.json")), 0)
    (tmp_path / "text").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        draw_split(digits, RegimeFromFile(str(tmp_path / "text")), 0)
    (tmp_path / "text").write_text("[]")
    with pytest.raises(DataError, match="is not a split file"):
        draw_split(digits, RegimeFromFile(str(tmp_path / "text")), 0)


def test_the_schema_describes_the_format() -> None:
    schema = SplitFile.model_json_schema()
    assert schema["properties"]["format"]["const"] == "trigan-split"
    assert {"data", "trial", "digest", *PARTS} <= set(schema["required"])
    assert not schema["$defs"]["SplitFilePart"]["additionalProperties"], "hidden labels do not belong in the file"
    assert schema["$defs"]["LabelledSplitFilePart"]["properties"]["labels"]["items"]["minimum"] == 0

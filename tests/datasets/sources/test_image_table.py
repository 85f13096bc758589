"""Tables of image files, in every format, with splits, groups and images without a label."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tensor_datasets import save

from trigan.config.compose import compose
from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.image_table import ImageTable, TableColumns
from trigan.errors import DataError

RNG = np.random.default_rng(0)
Rows = list[dict[str, Any]]


def delimited(path: Path, rows: Rows, mark: str = ",", encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, tuple[str, Callable[[Path, Rows], None]]] = {
    "csv": ("t.csv", delimited),
    "csv of a German office": ("t.csv", lambda path, rows: delimited(path, rows, ";")),
    "csv with a mark of byte order": ("t.csv", lambda path, rows: delimited(path, rows, encoding="utf-8-sig")),
    "tsv": ("t.tsv", lambda path, rows: delimited(path, rows, "\t")),
    "jsonl": ("t.jsonl", lambda path, rows: path.write_text("\n".join(map(json.dumps, rows)) + "\n") and None),
    "json": ("t.json", lambda path, rows: path.write_text(json.dumps(rows)) and None),
    "parquet": ("t.parquet", lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path)),
}


def rows_of(root: Path) -> Rows:
    """Twelve images of two classes and three patients: training, test, validation, and two without a label."""
    rows = []
    for i in range(12):
        save(root, f"scans/{i}.png", RNG.integers(0, 256, (8, 8), dtype=np.uint8))
        split = ("train", "train", "train", "Test", "val", "train")[i % 6]
        label = "" if i in (5, 11) else ("benign", "malignant")[i % 2]
        rows.append({"file": f"scans/{i}.png", "label": label, "split": split, "patient": f"P{i % 3}"})
    return rows


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_same_data_set(kind: str, tmp_path: Path) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / name, rows_of(tmp_path))
    for root in (tmp_path / name, *([tmp_path] if kind != "json" else [])):
        source = ImageTable(root=str(root), columns=TableColumns(group="patient"))
        data = source.load(tmp_path / "cache")
        assert data.class_names == ("benign", "malignant")
        assert data.labels.tolist() == [0, 1, 0, 0, 1, 0, 0, 0, -1, -1, 1, 1]
        assert data.official_test.tolist() == [False] * 10 + [True] * 2
        assert data.groups.tolist() == [0, 1, 2, 0, 1, 2, 1, 1, 2, 2, 0, 0]
        assert any("2 validation images join" in note for note in data.notes)
        assert any("rows without a label are unlabelled images: 2 images" in note for note in data.notes)
        assert source.paths()[:2] == ["scans/0.png", "scans/1.png"]
        again = source.load(tmp_path / "cache")
        assert torch.equal(again.groups, data.groups)
        assert (again.notes, again.identity) == (data.notes, data.identity)


def test_what_no_row_names_is_told_and_the_folder_offers_the_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    delimited(tmp_path / "t.csv", rows_of(tmp_path)[1:])
    (tmp_path / "more.txt").write_text("x")
    expected = {"images that no row names": ["scans/0.png"], "files that end in .txt": ["more.txt"]}
    assert ImageTable(root=str(tmp_path), columns=TableColumns(group="patient")).unread() == expected
    with pytest.raises(DataError, match="only one class"):
        Folder(root=str(tmp_path)).load()
    assert "1 tables (data=table reads one) (t.csv)" in caplog.text
    with pytest.raises(DataError, match=r"for the table t.csv: data=table data.root=.*/t.csv"):
        Folder(root=str((tmp_path / "t.csv").rename(tmp_path / "scans/t.csv").parent)).load()


def test_metadata_of_the_hub_and_of_stylegan(tmp_path: Path) -> None:
    for k, part in enumerate(("train", "Test")):
        images = [save(tmp_path / part, f"{i}.png", RNG.integers(0, 99, (8, 8), dtype=np.uint8)) for i in range(4)]
        rows = [{"file_name": path.name, "label": i % 2 + k} for i, path in enumerate(images)]
        delimited(tmp_path / part / "metadata.csv", rows)
    data = ImageTable(root=str(tmp_path)).load()
    assert (data.class_names, data.labels.tolist()) == (("0", "1", "2"), [0, 1, 0, 1, 1, 2, 1, 2])
    assert data.official_test.tolist() == [False] * 4 + [True] * 4
    (tmp_path / "train/dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", i % 2] for i in range(4)]}))
    assert ImageTable(root=str(tmp_path / "train/dataset.json")).load().labels.tolist() == [0, 1, 0, 1]


def test_numbers_are_in_numeric_order_and_other_texts_in_theirs(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    for labels, names in ((["10", "9"], ("9", "10")), (["010", "9"], ("010", "9")), (["10", "nine"], ("10", "nine"))):
        delimited(tmp_path / "t.csv", [{**row, "label": labels[i % 2]} for i, row in enumerate(rows)])
        assert ImageTable(root=str(tmp_path / "t.csv")).load().class_names == names


def changed(key: str, value: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**rows[0], key: value}, *rows[1:]]


def renamed(old: str, new: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{new if key == old else key: value for key, value in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("file", "no.png"), "1 rows name files that do not exist .t.jsonl line 2: no.png"),
        (changed("file", "../t.jsonl"), r"line 2: ../t.jsonl leads out of the data folder, .*; set data.links=any"),
        (changed("file", "/etc/hostname"), "leads out of the data folder"),
        (changed("label", "a|b"), "looks like several labels; an image has one class here"),
        (changed("label", ["a", "b"]), "looks like several labels"),
        (changed("label", 0.5), "the label 0.5 is no class"),
        (changed("split", "fold1"), "split is 'fold1'; expected train, val, test or unlabelled"),
        (renamed("label", "diagnosis"), r"no column label or .*file, diagnosis, .*data.source.columns.label=NAME"),
        (renamed("patient", "class"), "has label and class for the label"),
        (lambda rows: [*rows, {"file": "x"}], "rows with different columns"),
        (lambda rows: [], "no rows"),
    ],
)
def test_mistakes_are_one_line(change: Callable[[Rows], Rows], message: str, tmp_path: Path) -> None:
    rows = change(rows_of(tmp_path / "in"))
    (tmp_path / "in/t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=message) as error:
        ImageTable(root=str(tmp_path / "in")).load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"file,label\nscans/0.png\n", "line 2 has 1 fields, the first 2"),
        (b"file,file\na,b\n", "two columns have one name"),
        ("file,label\nscans/0.png,caf\xe9\n".encode("latin-1"), "is not encoded in UTF-8"),
    ],
)
def test_damaged_tables_are_one_line(text: bytes, message: str, tmp_path: Path) -> None:
    rows_of(tmp_path)
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DataError, match=message):
        ImageTable(root=str(tmp_path)).load()


def test_a_column_of_patients_that_no_setting_names_is_told(tmp_path: Path) -> None:
    rows: Rows = [{"path": f"{i}.png", "label": "ab"[i % 2], "Patient_ID": i // 2} for i in range(4)]
    for i in range(4):
        save(tmp_path, f"{i}.png", RNG.integers(0, 256, (8, 8), dtype=np.uint8))
    delimited(tmp_path / "t.csv", rows)
    root = str(tmp_path / "t.csv")
    (reason,) = ImageTable(root=root).unread()
    assert ImageTable(root=root).unread() == {reason: ["Patient_ID"]}
    assert "data.group=NAME" in reason
    assert ImageTable(root=root, columns=TableColumns(group="Patient_ID")).unread() == {}
    with pytest.raises(DataError, match=r"no column patient for the group .*; set data.group=NAME$"):
        ImageTable(root=root, columns=TableColumns(group="patient")).load()


def test_settings_reach_the_table(tmp_path: Path) -> None:
    delimited(tmp_path / "t.csv", rows_of(tmp_path))
    words = [
        "data=table",
        f"data.root={tmp_path / 't.csv'}",
        "data.group=patient",
        "data.window=[0,100]",
        "data.fit=pad",
    ]
    source = compose(words).build().data
    assert (source.columns.group, list(source.window), source.fit) == ("patient", [0, 100], "pad")
    assert source.load().spec.size == 32

"""Published results: beside ours if all conditions match, else apart with the differences; never from memory."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trigan.errors import ConfigError
from trigan.records.record import Record
from trigan.tables.layout.latex import render_latex
from trigan.tables.layout.text import render_csv, render_markdown, render_terminal
from trigan.tables.published import KEYS, PublishedResult, conditions, read_published
from trigan.tables.table import Table, TableSpec, build_table

MakeAll = Callable[..., list[Record]]
ROWS, COLUMNS = ("bare", "joint"), ("digits", "mnist")
LINE = {
    "row": "joint",
    "column": "mnist",
    "value": "99.07",
    "spread": "0.065",
    "spread_kind": "sd",
    "arxiv": "1606.03498",
    "dataset": "mnist",
    "metric": "accuracy",
    "split": "official",
    "labels_training": "100",
    "labels_selection": "0",
    "architecture": "small_cnn",
    "draws": "10",
    "tag": "R",
    "note": "",
}


def write(folder: Path, *lines: dict[str, str]) -> Path:
    path = folder / "published.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(LINE))
        writer.writeheader()
        writer.writerows({**LINE, **line} for line in lines)
    return path


def read(path: Path) -> tuple[PublishedResult, ...]:
    return read_published(path, ROWS, COLUMNS)


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    path = write(tmp_path, {}, {"row": "", "note": "Ladder, which we lack", "spread": "", "spread_kind": "none"})
    first, second = read(path)
    assert (first.row, first.column, first.value, first.spread, first.draws) == (
        "joint",
        "mnist",
        "99.07",
        "0.065",
        "10",
    )
    assert tuple(first.conditions.values()) == ("mnist", "accuracy", "official", "100", "0", "small_cnn")
    assert (second.row, second.note) == ("", "Ladder, which we lack")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n")
    assert read(path) == (first, second), "as a spreadsheet writes it"
    assert sorted(LINE) == sorted(KEYS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"tag": "M"}, "tag is 'M': a figure from memory is never printed; find its source"),
        ({"tag": "X"}, "tag is 'X': expected one of R, T, P"),
        ({"row": "jiont"}, "row is 'jiont': no such row in this table, expected one of bare, joint, or nothing"),
        ({"column": "svhn"}, "column is 'svhn': no such column in this table"),
        ({"value": "99.07 %"}, "value is '99.07 %': expected a number"),
        ({"value": "nan"}, "value is 'nan': expected a number"),
        ({"spread_kind": "range"}, "spread_kind is 'range': expected one of sd, sem, interval95, none"),
        ({"spread": ""}, "spread is '': expected a number of at least 0, as spread_kind is sd"),
        ({"spread_kind": "none"}, "spread is '0.065': expected nothing beside spread_kind none"),
        ({"arxiv": "arXiv:1606.03498"}, "arxiv is 'arXiv:1606.03498': expected an id such as 1606.03498"),
        ({"arxiv": ""}, "arxiv is '': expected an id"),
        ({"dataset": ""}, "dataset is '': expected a name"),
        ({"split": "offical"}, "split is 'offical': expected official, hash, or other: WORDS"),
        ({"split": "other:"}, "split is 'other:'"),
        ({"labels_training": "100 in all"}, "labels_training is '100 in all': expected an int >= 0, or nothing"),
        ({"draws": "0"}, "draws is '0': expected an int >= 1"),
        ({"row": ""}, "note is '': expected what the figure is of"),
    ],
)
def test_mistakes_name_file_line_and_key(tmp_path: Path, line: dict[str, str], words: str) -> None:
    path = write(tmp_path, {}, line)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 3: {words}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1: row is missing; columns: row, column, value"),
        (",".join(KEYS[:-1]), "line 1: architecture is missing"),
        (",".join((*KEYS, "tags")), "line 1: tags: no such column"),
        (",".join((*KEYS, "tag")), "line 1: tag: no such column, or there twice"),
        (f"{','.join(KEYS)}\n\n1,2\n", "line 3: 2 fields, expected 15; quote texts that have a comma"),
        (f'{",".join(KEYS)}\n"open', "cannot be read as CSV (unexpected end of data)"),
        (b"\xff\xfe", "cannot be read as CSV"),
    ],
)
def test_malformed_files_give_a_one_line_error(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = tmp_path / "published.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "images", "split", "expected"),
    [
        ({}, {"classifier": 5}, {}, ("mnist", "official", "small_cnn")),
        ({}, {"classifier": 5}, {"test_redrawn": True}, ("mnist", "hash", "small_cnn")),
        ({}, {"discriminator": 0, "generator": 0}, {}, ("mnist", "official", "dcgan")),
        ({}, {"classifier": 5, "generator": 5}, {}, ("mnist", "official", "dcgan+small_cnn")),
        ({}, {}, {}, ("mnist", "official", "none")),
        ({"data": {"image_size": 16, "channels": 3}}, {}, {}, ("mnist, 16 px, 3 channels", "official", "none")),
        (
            {"data": {"image_size": None}, "regime": {"noise": {"rate": 0.2}}},
            {},
            {},
            ("mnist, noisy labels", *["?"] * 2),
        ),
        ({"regime": {"imbalance": {"factor": 100}, "noise": None}}, {}, {}, ("mnist, imbalanced", *["?"] * 2)),
    ],
)
def test_conditions_of_a_record(
    record: Callable[..., Record],
    config: dict[str, Any],
    images: dict[str, int],
    split: dict[str, Any],
    expected: tuple[str, str, str],
) -> None:
    one = record(0.9, tags={"data": "mnist"}, config=config, split=split, data_used={"V": 7})
    one["result"]["labels"] = {"training": 93, "selection": 7}
    one["result"]["cost"]["images"] = images
    found = conditions(one, "macro_f1")
    values = (found["dataset"], found["split"], found["architecture"])
    assert all(mine in (theirs, "?") for theirs, mine in zip(values, expected, strict=True))
    assert (found["metric"], found["labels_training"], found["labels_selection"]) == ("macro_f1", "93", "7")


def table(records: MakeAll, path: Path, metric: str = "accuracy", **joint: Any) -> Table:
    places = {
        ("bare", "mnist"): records([0.8, 0.9, 0.85], tags={"data": "mnist"}),
        ("joint", "mnist"): records([0.9, 0.95, 0.91], tags={"data": "mnist"}, **joint),
        ("joint", "digits"): records([0.9, 0.95, 0.91]),
    }
    return build_table(places, TableSpec("T", ROWS, COLUMNS, reference="bare", metric=metric), read(path))


def test_a_result_under_the_same_conditions_is_beside_ours(tmp_path: Path, records: MakeAll) -> None:
    found = table(records, write(tmp_path, {"note": "weights averaged"}))
    text = render_markdown(found)
    assert "| row | digits (n = 3) | digits minus bare |" not in text
    assert "| digits (n = 3) | minus bare | mnist (n = 3) | published | mnist minus bare |" in text
    assert "| 92.0 (90.0 to 95.0)** | 99.07 ± 0.065 sd; n = 10; [R] 1606.03498 | +7.0" in text.replace("**92", "92")
    assert "Published, other conditions" not in text
    assert "- Tags of published results, before the arXiv id: [R] read in the authors' paper or code.\n" in text
    assert "sd = standard deviation." in text
    assert "- Published beside joint, mnist: weights averaged.\n" in text
    assert "99.07 $\\pm$ 0.065 sd" in render_latex(found).replace("~", " ")
    lines = {(line["row"], line["column"]): line for line in csv.DictReader(io.StringIO(render_csv(found)))}
    assert lines["joint", "mnist"]["published"] == "99.07 ± 0.065 sd; n = 10; [R] 1606.03498"
    assert {line["published_elsewhere"] for line in lines.values()} == {""}


@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ({"dataset": "mnist, 16 px"}, "data set: mnist, 16 px, ours mnist"),
        ({"metric": "error"}, "metric: error, ours accuracy"),
        ({"split": "other: 5-fold"}, "split: other: 5-fold, ours official"),
        ({"split": "hash"}, "split: hash, ours official"),
        ({"labels_training": "1000"}, "training labels: 1000, ours 100"),
        ({"labels_selection": ""}, "selection labels: not stated, ours 0"),
        (
            {"architecture": "mlp", "labels_training": "0050"},
            "training labels: 50, ours 100; architecture: mlp, ours small_cnn",
        ),
        ({"row": "", "note": "Ladder"}, "no row of ours"),
        ({"row": "", "column": "", "note": "Ladder"}, "no row and no column of ours"),
        ({"row": "bare", "column": "digits"}, "no run of ours yet"),
    ],
)
def test_a_result_under_other_conditions_is_apart(
    tmp_path: Path, records: MakeAll, line: dict[str, str], differs: str
) -> None:
    found = table(records, write(tmp_path, line))
    assert [one.differs for one in found.published] == [differs]
    text = render_markdown(found)
    row = {**LINE, **line}
    assert " published |" not in text.split("###")[0]
    cells = (
        row["row"] or "-",
        row["column"] or "-",
        "99.07 ± 0.065 sd; n = 10; [R] 1606.03498",
        differs,
        row["note"] or "-",
    )
    assert "### Published, other conditions\n\n| row | column | published | what differs | note |" in text
    assert f"| {' | '.join(cells)} |".replace("_", "\\_") in text
    if row["row"] and row["column"]:
        assert f"({differs})" in render_csv(found)


def test_one_record_of_other_conditions_is_enough(tmp_path: Path, records: MakeAll) -> None:
    mixed = records([0.9, 0.95, 0.91], tags={"data": "mnist"})
    mixed[1]["result"]["labels"]["training"] = 99
    spec = TableSpec("T", ROWS, COLUMNS)
    found = build_table({("joint", "mnist"): mixed}, spec, read(write(tmp_path, {})))
    assert [one.differs for one in found.published] == ["training labels: 100, ours 100 or 99"]


def test_it_fits_a_narrow_page(tmp_path: Path, records: MakeAll) -> None:
    other = {"split": "other: ten folds of all images"}
    lines = [{}, other, {**other, "spread_kind": "interval95", "tag": "T"}, {**other, "tag": "P", "arxiv": ""}]
    found = table(records, write(tmp_path, *lines))
    for width in (80, 100):
        page = render_terminal(found, width)
        assert max(map(len, page.splitlines())) <= width
        assert page.count("99.07 ± 0.065") == 4

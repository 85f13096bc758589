"""Names of strangers in tables, CSV files, messages and paths: no formula, no link, no escape, no other folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from hostile import RESOLVERS, SECRET, Attack
from record_makers import make_record

from trigan.commands.main import main
from trigan.datasets.sources.folder import Folder
from trigan.datasets.sources.image_source import encode_labels
from trigan.datasets.splits.split_file import read_split_file
from trigan.errors import ArtifactError, DataError, is_printable, plain_cell, printable
from trigan.interop.submission import read_submission
from trigan.records.record import read_record, write_record
from trigan.tables.compare import compare
from trigan.tables.layout.text import markdown_grid, render_csv, render_markdown, render_terminal
from trigan.tracking.curve_files import csv_bytes

CONTROLS = ("a\nb", "a\rb", "a\x1b[2Jb", "a\x07b", "a\x9b31mb", "a\u202eb", "a\u2066b", "a\u2028b")


@pytest.mark.parametrize("text", CONTROLS)
def test_control_characters(text: str, tmp_path: Path) -> None:
    assert not set(printable(text)) & set(text) - set("ab\n[2J31m")
    assert all(map(is_printable, encode_labels([text, "c"], None, "x")[1]))
    record = make_record(0.9, tags={"row": text})
    with pytest.raises(ArtifactError, match="has a control character"):
        write_record(tmp_path / "record.json", record)
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="has a control character"):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize("text", ["名前", "Größe", "दृश्य", "café", "👩‍🔬", "א", "a b", "100 %"])
def test_names_in_any_script_stay(text: str) -> None:
    assert printable(text) == text
    assert encode_labels([text, "0"], None, "x")[1] == tuple(sorted([text, "0"]))
    assert plain_cell(text) == text


@pytest.mark.parametrize("run", ["../../elsewhere", "/tmp/elsewhere", "", "..", "abcd/../../x", "a" * 65])
def test_a_run_is_no_path(run: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(json.dumps({**make_record(0.9), "run": run}))
    with pytest.raises(ArtifactError, match="expected the hash of a run"):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize("run", ["../../../elsewhere", "/tmp/elsewhere"])
def test_commands_on_a_record_with_a_path(run: str, attack: Attack) -> None:
    attack.write("run/record.json", json.dumps({**make_record(0.9), "run": run}))
    for words in (
        ["export", "run", "--no-onnx"],
        ["sample", "run", "--per-class", "1"],
        ["predict", "run", "evil.npy"],
    ):
        attack.refused(*words)
    attack.write("outputs/runs/ab/record.json", json.dumps({**make_record(0.9), "run": run}))
    attack.refused("compare")


@pytest.mark.parametrize("name", RESOLVERS)
def test_a_record_with_resolvers_runs_nothing(name: str, attack: Attack) -> None:
    text = RESOLVERS[name]
    spec = {"channels": 1, "size": 8, "classes": 2}
    probe = {"_id_": "probe/nearest_neighbours@1", "folds": text}
    for strategy in (
        {"_id_": "strategy/features@1", "probe": probe},
        {
            "_id_": "strategy/features@1",
            "pretrain": {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
        },
        {"_target_": text},
        {"_target_": "trigan.tracking.curve_files.MetricsFile", "path": "../written"},
        text,
    ):
        record = make_record(0.9, config={"strategy": strategy})
        record["result"]["data"] = {"classes": ["a", "b"], "spec": spec}  # type: ignore[typeddict-unknown-key]
        attack.write("run/record.json", json.dumps(record))
        attack.refused("export", "run", "--no-onnx")


def test_a_submission_and_a_split_of_strangers(attack: Attack) -> None:
    used = {"L": 1, "U": 0, "V": 0, "X": 0}
    for method in (*RESOLVERS.values(), *CONTROLS[1:]):
        attack.write("own.json", json.dumps({"method": method, "split": "ab", "trial": 0, "data_used": used}))
        with pytest.raises(Exception, match=r"other keys only|control character") as caught:
            read_submission(attack.folder / "own.json")
        assert "\n" not in str(caught.value)
    for text in (
        "[" * 100_000,
        '{"a":' * 100_000,
        "{}",
        "NaN",
        '{"format": "trigan-split", "version": ' + "9" * 5000 + "}",
    ):
        for name, read in (("own.json", read_submission), ("split.json", read_split_file)):
            attack.write(name, text)
            with pytest.raises((DataError, Exception)) as caught:
                read(attack.folder / name)
            assert type(caught.value).__name__ in ("ConfigError", "DataError")
            assert "\n" not in str(caught.value)
    attack.write("one/study.yaml", {"trials": 1, "rows": [{"name": "bare", "set": ["strategy=baseline"]}]})
    np.savez(attack.folder / "own.npz", indices=np.arange(2), classes=np.arange(2))
    used = {"method": "m", "split": "a" * 64, "trial": 0, "seed": 0, "data_used": used}
    attack.write("own.json", json.dumps(used))
    line = attack.refused("submit", "own.npz", "--study", "./one", "--row", "a\ntouch hacked")
    assert "without line breaks" in line
    attack.check()
    assert SECRET


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "=1"])
def test_formulas(text: str) -> None:
    assert plain_cell(text) == f"'{text}"
    assert csv_bytes([[text, "-1.5", -2, "+3e4"]]).decode().startswith(("'", "\"'"))
    assert csv_bytes([["-1.5", -2, "+3e4"]]) == b"-1.5,-2,+3e4\n"
    tags = {"strategy": text}
    table = compare([make_record(0.9, tags=tags), make_record(0.8, tags={"strategy": "b"})])
    rows = [line.split(",")[0] for line in render_csv(table).splitlines()]
    assert not any(row.lstrip('"').startswith(tuple("=+-@\t")) for row in rows)


@pytest.mark.parametrize(
    "text", ["![x](http://x/y.png)", "[x](http://x)", "[x][y]", "[x]: http://x", "<http://x>", "<img src=http://x>"]
)
def test_links_and_images(text: str) -> None:
    grid = markdown_grid(["row"], [[text]])
    assert "](" not in grid.replace("\\](", "")
    assert "][" not in grid.replace("\\][", "")
    assert "]:" not in grid.replace("\\]:", "")
    assert "<" not in grid.replace("\\<", "")
    table = compare([make_record(0.9, tags={"strategy": text}), make_record(0.8, tags={"strategy": "b"})])
    assert "](" not in render_markdown(table).replace("\\](", "")
    assert "\x1b" not in render_terminal(table)


def test_links_out_of_a_folder_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inside, outside = tiny_data.folder(tmp_path / "images"), tiny_data.folder(tmp_path / "elsewhere")
    plain = Folder(root=str(inside))
    plain.load()
    plain.key()
    assert not caplog.records
    os.symlink(outside / "class0" / "000.png", inside / "class0" / "zzz.png")
    os.symlink(inside / "class0" / "001.png", inside / "class0" / "yyy.png")
    os.symlink(outside / "class1", inside / "class9")
    with pytest.raises(DataError, match="leads out of the data folder"):
        plain.key()
    Folder(root=str(inside), links="any").key()
    (said,) = [record.getMessage() for record in caplog.records]
    count = 1 + len(list((outside / "class1").iterdir()))
    assert f"{count} of " in said
    assert str(outside) in said


def test_an_error_names_a_file_without_its_escapes(attack: Attack) -> None:
    root = tiny_data.folder(attack.folder / "images")
    (root / "class0" / "a\x1b[2J\nb.png").write_bytes(b"no image")
    assert main(["run", "data=folder", "data.root=images", "logger=none", "paths.outputs=out"]) == 2
    err = attack.capsys.readouterr().err
    assert "\x1b" not in err
    assert r"a\x1b[2J" in err

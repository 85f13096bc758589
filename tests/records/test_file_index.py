"""The index of records: what has not changed is not read again; what has changed is, and a wrong index is made anew."""

import os
from pathlib import Path

import pytest
from record_makers import make_record

from trigan.records import file_index
from trigan.records import record as record_module
from trigan.records.file_index import INDEX_NAME, FileIndex
from trigan.records.record import find_records, write_record


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(file_index, "_MIN_ENTRIES", 2)
    monkeypatch.setattr(file_index, "_SETTLED_NS", 0)
    for number in range(3):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "record.json").write_text(f"{number}")
    return tmp_path


def read(runs: Path) -> tuple[list[int], list[str]]:
    """What an index gives, and which files were read for it."""
    opened: list[str] = []

    def derive(path: Path) -> int:
        opened.append(path.parent.name)
        return int(path.read_text())

    with FileIndex(runs) as index:
        values = [index.get(path, "number", derive) for path in sorted(runs.glob("*/record.json"))]
    return values, opened


def test_only_what_changed_is_read_again(runs: Path) -> None:
    assert read(runs) == ([0, 1, 2], ["run0", "run1", "run2"])
    assert read(runs) == ([0, 1, 2], [])
    changed = runs / "run1" / "record.json"
    before = changed.stat()
    changed.write_text("7")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time of change: another ctime
    assert read(runs) == ([0, 7, 2], ["run1"])
    (runs / "new").write_text("5")
    (runs / "new").replace(runs / "run2" / "record.json")
    (runs / "run0" / "record.json").unlink()
    assert read(runs) == ([7, 5], ["run2"])
    assert "run0" not in (runs / INDEX_NAME).read_text()


@pytest.mark.parametrize("harm", ["number", "cut", "version", "empty"])
def test_a_wrong_index_is_made_anew(runs: Path, harm: str) -> None:
    read(runs)
    index = runs / INDEX_NAME
    content = index.read_bytes()
    changed = {
        "number": content.replace(b",2]", b",9]"),
        "cut": content[:-5],
        "version": content.replace(b"trigan ", b"trigan 9"),
        "empty": b"",
    }[harm]
    assert changed != content
    index.write_bytes(changed)
    assert read(runs) == ([0, 1, 2], ["run0", "run1", "run2"])
    assert index.read_bytes() == content


def test_a_file_that_may_still_change_is_not_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_index, "_SETTLED_NS", 10**12)
    read(runs)
    assert not (runs / INDEX_NAME).exists()


def test_a_folder_that_cannot_be_written_is_read_without_an_index(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    assert read(runs)[0] == [0, 1, 2]
    assert not (runs / INDEX_NAME).exists()


def test_records_that_did_not_change_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_index, "_SETTLED_NS", 0)
    read, parse = [], record_module.parse_record
    monkeypatch.setattr(record_module, "parse_record", lambda content: read.append(1) or parse(content))
    for number in range(300):
        record = {**make_record(0.5, number), "run": f"{number:04d}"}
        write_record(tmp_path / "runs" / f"{number:04d}" / "record.json", record)
    for expected in (300, 0):
        read.clear()
        found, _ = find_records(tmp_path)
        assert [one["run"] for one in found] == [f"{number:04d}" for number in range(300)]
        assert len(read) == expected

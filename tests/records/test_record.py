"""Records: canonical bytes, atomic writes, one-line errors, fast to read."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trigan import atomic
from trigan.errors import ArtifactError
from trigan.records.record import Record, find_records, read_record, write_record

Make = Callable[..., Record]


def test_a_record_is_read_as_written_and_its_bytes_are_canonical(tmp_path: Path, record: Make) -> None:
    path, made = tmp_path / "runs" / "ab" / "record.json", record(0.1 + 0.2)
    write_record(path, made)
    read = read_record(path)
    assert read.pop("checksum")  # type: ignore[misc]
    assert read == made
    first = path.read_bytes()
    write_record(path, dict(reversed(made.items())))
    assert path.read_bytes() == first
    assert first.endswith(b"}\n")
    assert b"0.30000000000000004" in first


def _without(path: str) -> Callable[[dict], None]:
    def spoil(record: dict) -> None:
        *parents, last = path.split(".")
        for part in parents:
            record = record[part]
        del record[last]

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without("result.test.accuracy"), "result.test.accuracy is missing"),
        (_without("tags"), "tags is missing"),
        (lambda r: r.update(schema_version=1), "schema_version is 1, this trigan reads 2"),
        (
            lambda r: r["result"].update(status="crashed"),
            "result.status is 'crashed', should be 'finished' or 'diverged'",
        ),
        (lambda r: r["result"]["data_used"].update(U=1.5), "result.data_used.U is 1.5, should be a valid integer"),
        (lambda r: r["tags"].update(trial=True), "tags.trial is True, should be a valid integer"),
        (lambda r: r["tags"].update(study=3), "tags.study is 3, should be a valid string"),
    ],
)
def test_a_faulty_record_is_neither_read_nor_written(
    tmp_path: Path, record: Make, spoil: Callable[[dict], None], words: str
) -> None:
    made = dict(record(0.5))
    spoil(made)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(made))
    with pytest.raises(ArtifactError, match=words) as caught:
        read_record(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ArtifactError, match=words):
        write_record(tmp_path / "new.json", made)
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize("change", [(b'"seconds": 1.5', b'"seconds": 1.4'), (b'"loss": "hinge"', b'"loss": "hingf"')])
def test_a_record_that_was_changed_is_refused(tmp_path: Path, record: Make, change: tuple[bytes, bytes]) -> None:
    path = tmp_path / "record.json"
    write_record(path, record(0.5))
    path.write_bytes(path.read_bytes().replace(*change))
    with pytest.raises(ArtifactError, match="its checksum differs"):
        read_record(path)
    reformatted = json.loads(path.read_bytes().replace(*change[::-1]))
    path.write_text(json.dumps(reformatted))
    assert read_record(path)["result"]["test"]["accuracy"] == 0.5


def test_an_older_record_has_no_checksum_and_its_accuracy_is_that_of_its_confusion_matrix(
    tmp_path: Path, record: Make
) -> None:
    path, made = tmp_path / "record.json", record(0.5)
    path.write_text(json.dumps(made))
    assert "checksum" not in read_record(path)
    made["result"]["test"]["accuracy"] = 0.6
    path.write_text(json.dumps(made))
    with pytest.raises(ArtifactError, match=r"result.test.accuracy is 0.6, and result.test.confusion has 0.5"):
        read_record(path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"", b"\xff{}", b'{"config": NaN}', b"1" * 10_000])
def test_what_is_no_record_gives_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not JSON|not a JSON object"):
        read_record(tmp_path / "record.json")


def test_damaged_and_missing_files_give_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(ArtifactError, match="No such file"):
        read_record(path)
    path.write_text('{"schema_version": 1, "run"')
    with pytest.raises(ArtifactError, match="not JSON"):
        read_record(path)


def test_nan_is_refused_and_leaves_the_old_record(tmp_path: Path, record: Make) -> None:
    path = tmp_path / "record.json"
    write_record(path, record(0.5))
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match="cannot write"):
        write_record(path, record(float("nan")))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, record: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(ArtifactError, match="the disk is full"):
        write_record(tmp_path / "record.json", record(0.5))
    assert list(tmp_path.iterdir()) == []


def test_only_finished_runs_are_found_and_a_thousand_load_fast(tmp_path: Path, record: Make) -> None:
    made = record(0.5)
    for index in range(1000):
        folder = tmp_path / "runs" / f"{index:04d}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps({**made, "run": f"{index:04d}"}))
    (tmp_path / "runs" / "0000" / "record.json").write_text(json.dumps({**made, "run": "first"}))
    (tmp_path / "runs" / "unfinished").mkdir()
    for place in ("debug/x", "runs/debug"):  # the second: a debug run with this output folder
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "record.json").write_text(
            json.dumps({**made, "run": place.replace("/", "-"), "config": {"debug": {"max_steps": 2}}})
        )
    start = time.process_time()
    found, left_out = find_records(tmp_path)
    assert time.process_time() - start < 1.0
    assert (len(found), left_out) == (1000, 1)
    assert found[0]["run"] == "first"
    (tmp_path / "runs" / "0002" / "record.json").write_text(json.dumps({**made, "run": "0001"}))
    with pytest.raises(ArtifactError, match=r"0002/record.json: the record of run 0001, as .*0001/record.json: remove"):
        find_records(tmp_path)

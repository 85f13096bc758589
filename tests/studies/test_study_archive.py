"""`trigan table STUDY --archive FILE`, then `--from FILE`: the same bytes without the runs, and no changed file."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_study
import yaml

from trigan.commands.main import main
from trigan.errors import ArtifactError
from trigan.records import record_archive
from trigan.records.record_archive import ArchivedRun, RecordArchive, read_archive, write_archive
from trigan.studies.study_table import FORMATS
from trigan.tables.published import KEYS

STUDY: dict[str, Any] = {
    "title": "tiny",
    "strict": True,
    "fixed": [*small_study.SMALL, "data.suggested.steps=6"],
    "columns": [{"name": "digits", "set": ["data=digits"]}],
    "rows": [
        {"name": "baseline", "set": ["strategy=baseline"]},
        {"name": "baseline, matched", "set": ["strategy=baseline"], "match": "joint"},
        {"name": "joint", "set": ["strategy=joint"]},
    ],
    "reference": "baseline",
    "family": {"rows": ["joint"], "baselines": ["baseline", "baseline, matched"]},
    "scales": {"all": {"trials": 5}, "one": {"trials": [1], "rows": ["baseline", "joint"]}},
}
PUBLISHED = {
    **{"row": "joint", "column": "digits", "value": "90", "spread_kind": "none", "arxiv": "1606.03498", "tag": "R"},
    **{"dataset": "mnist", "metric": "accuracy", "split": "official", "labels_training": "100"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study, its runs at both scales, predictions of another program, and the archive of both."""
    folder = tmp_path_factory.mktemp("archive")
    study = small_study.written(folder / "mine", **STUDY)
    line = dict.fromkeys(KEYS, "") | PUBLISHED
    (study.with_name("published.csv")).write_text(f"{','.join(line)}\n{','.join(line.values())}\n")
    own = [f"paths.outputs={folder / 'out'}", "logger=none"]
    for scale in STUDY["scales"]:
        assert main(["study", str(study), *own, "--scale", scale, "--workers", "1"]) == 0
    place = ["--study", str(study), "--column", "digits", "--scale", "all"]
    assert main(["splits", "export", *place, "--trial", "4", "--output", str(folder / "split.json")]) == 0
    rows = np.array(json.loads((folder / "split.json").read_text())["test"]["indices"])
    np.savez(folder / "ours.npz", indices=rows, probabilities=np.full((len(rows), 10), 0.1, np.float32))
    used = {"L": 50, "U": 0, "V": 0, "X": 0}
    about = {"method": "a guess", "split": "split.json", "trial": 4, "data_used": used}
    (folder / "ours.json").write_text(json.dumps(about))
    assert main(["submit", str(folder / "ours.npz"), *own, *place, "--row", "ours"]) == 0
    for scale in STUDY["scales"]:
        assert main(["table", str(study), *own, "--scale", scale, "--archive", str(folder / "records.parquet")]) == 0
    return folder


@pytest.fixture
def elsewhere(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study and its archive, alone, in another folder."""
    shutil.copytree(finished / "mine", tmp_path / "mine")
    shutil.copy(finished / "records.parquet", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(folder: Path, *words: str) -> int:
    return main(["table", str(folder / "mine"), *words])


@pytest.mark.parametrize("scale", ["all", "one"])
def test_a_table_is_the_same_bytes_without_the_runs(
    finished: Path, elsewhere: Path, scale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for metric in ("accuracy", "auroc", "generator_fid"):
        for name in FORMATS:
            words = ["--scale", scale, "--format", name, "--metric", metric]
            assert table(finished, f"paths.outputs={finished / 'out'}", *words, "--output", "there") == 0
            assert table(elsewhere, "--from", "records.parquet", *words, "--output", "here") == 0
            assert Path("here").read_bytes() == Path("there").read_bytes() != b""
    assert not (elsewhere / "outputs").exists()
    capsys.readouterr()
    assert table(elsewhere, "--from", "records.parquet", "--scale", scale, "--format", "md") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert ("ours (external)" in said.out) == (scale == "all")
    assert "Published, other conditions" in said.out
    assert "estimated" in said.out if scale == "all" else "correlation" not in said.out


def test_an_archive_is_small_and_names_no_place_of_its_machine(finished: Path) -> None:
    archive = read_archive(finished / "records.parquet")
    assert len(archive.runs) == 15 + 1 + 2
    assert (finished / "records.parquet").stat().st_size < 3_000 * len(archive.runs)
    text = "".join(run.record for run in archive.runs) + json.dumps(archive.about)
    assert str(finished) not in text
    assert not [word for word in ('"hostname"', '"seconds"', '"paths"', '"logger"') if word in text]
    before = (finished / "records.parquet").read_bytes()
    own = f"paths.outputs={finished / 'out'}"
    assert table(finished, own, "--scale", "one", "--archive", str(finished / "records.parquet")) == 0
    assert (finished / "records.parquet").read_bytes() == before


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[RecordArchive], RecordArchive]:
    """An archive whose first record of C alone was changed and signed anew by nobody."""

    def apply(archive: RecordArchive) -> RecordArchive:
        first, *rest = archive.runs
        record = json.loads(first.record)
        change(record)
        return replace(archive, runs=[replace(first, record=json.dumps(record)), *rest])

    return apply


def other_images(archive: RecordArchive) -> RecordArchive:
    first, second, *rest = archive.runs
    return replace(archive, runs=[replace(first, outcomes=second.outcomes), second, *rest])


def twice(archive: RecordArchive) -> RecordArchive:
    return replace(archive, runs=[*archive.runs, archive.runs[0]])


def moved(archive: RecordArchive) -> RecordArchive:
    first, *rest = archive.runs
    return replace(archive, runs=[replace(first, row="nowhere"), *rest])


def escaping(archive: RecordArchive) -> RecordArchive:
    """A submitted row whose name a terminal would obey."""
    submitted = next(run for run in archive.runs if run.row.endswith("(external)"))
    rest = [run for run in archive.runs if run is not submitted]
    return replace(archive, runs=[replace(submitted, row="ours\x1b (external)"), *rest])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (changed(lambda record: record["result"]["test"].update(accuracy=0.99)), "its checksum differs"),
        (
            changed(lambda record: record.pop("checksum") and record["result"]["test"].update(n=9, accuracy=0.99)),
            "accuracy",
        ),
        (changed(lambda record: record.pop("result")), "its checksum differs"),
        (other_images, "are not its own"),
        (twice, "is twice in"),
        (moved, "nowhere, digits is no cell of study mine"),
        (escaping, r"ours\x1b (external), digits is no cell of study mine"),
        (lambda archive: replace(archive, about={"study": "mine", "tables": {"all": {}}}), "restore it from a copy"),
        (lambda archive: replace(archive, about=["mine"]), "no archive of a study"),
        (lambda archive: replace(archive, about={**archive.about, "study": "other"}), "the archive of study 'other'"),
        (
            lambda archive: replace(archive, about={"study": "mine", "tables": {}}),
            "has no table of scale all; it has none",
        ),
    ],
)
def test_what_somebody_changed_and_signed_is_refused(
    elsewhere: Path,
    change: Callable[[RecordArchive], RecordArchive],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = elsewhere / "records.parquet"
    write_archive(path, change(read_archive(path)))
    assert table(elsewhere, "--from", "records.parquet") in (2, 3)
    said = capsys.readouterr().err
    assert line in said
    assert said.startswith("trigan: records.parquet: ")
    assert said.count("\n") == 1


def test_a_damaged_or_foreign_file_is_refused(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = elsewhere / "records.parquet"
    whole = path.read_bytes()

    def refused(line: str) -> None:
        assert table(elsewhere, "--from", "records.parquet") == 3
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1

    stored, found = read_archive(path), 0
    for place in range(8, len(whole), len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:  # a bit of the format that means nothing changes no number
            assert read_archive(path) == stored
        except ArtifactError:
            refused("records.parquet: no archive of records (")
            found += 1
    assert found > 30
    for content in (b"", b"PAR1", whole[:-9], bytes(len(whole))):
        path.write_bytes(content)
        refused("no archive of records (")
    pq.write_table(pa.table({"a": [1]}), path)
    refused("it was not written by `trigan table --archive`")
    path.write_bytes(whole)
    fewer, about = pq.read_table(path).slice(1), pq.ParquetFile(path).metadata.metadata
    with pq.ParquetWriter(path, fewer.schema, store_schema=False) as writer:  # a run is missing
        writer.write_table(fewer)
        writer.add_key_value_metadata(about)
    refused("its checksum differs")
    path.write_bytes(whole)
    for limit in ("MAX_RUNS", "MAX_FILE", "MAX_TEXT"):
        with monkeypatch.context() as patch:
            patch.setattr(record_archive, limit, 9)
            refused("it has more than")


def test_the_texts_are_counted_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A footer may say anything: each text is counted, too."""
    run = ArchivedRun("", "r", "c", "x" * 1000, "")
    write_archive(tmp_path / "a", RecordArchive({}, [run] * 1000))
    monkeypatch.setattr(record_archive, "MAX_TEXT", 900_000)
    file = record_archive.__dict__["_runs"]
    import pyarrow.parquet as pq

    with pytest.raises(ValueError, match="more than 0 MiB of text"), pq.ParquetFile(tmp_path / "a") as stored:
        list(file(stored))


def test_the_study_must_be_that_of_the_runs(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = elsewhere / "mine" / "study.yaml"
    study = yaml.safe_load(file.read_text())

    def refused(line: str, *words: str) -> None:
        assert table(elsewhere, "--from", "records.parquet", *words) == 2
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1

    def rewrite(**changes: Any) -> None:
        file.write_text(yaml.safe_dump({**study, **changes}))

    rewrite(rows=[{**study["rows"][0], "set": ["strategy=baseline", "mix=mixup"]}, *study["rows"][1:]])
    refused("row 'baseline' had ['strategy=baseline'], the study has ['strategy=baseline', 'mix=mixup']")
    rewrite(scales=None)
    refused("has no table of scale none; it has all, one")
    rewrite(rows=study["rows"][:1], family=None, scales={"all": {"trials": 5}})
    refused("row 'baseline, matched' is none of the study's rows: restore the study's file, or run the study and")
    rewrite(fixed=[*study["fixed"], "recipe.steps=9"])
    refused("its runs had the settings")
    rewrite()
    refused("paths.outputs=x: the runs of --from records.parquet have their settings", "paths.outputs=x")
    refused("--tuned: the runs of --from records.parquet have their settings", "--tuned", "3")
    refused("--from, --output and --metric", "--archive", "new.parquet")
    rewrite(rows=[*study["rows"], {"name": "later", "set": ["strategy=features"]}])
    assert table(elsewhere, "--from", "records.parquet") == 0
    said = capsys.readouterr()
    assert said.err.startswith("15 of 20 jobs have a record in records.parquet;")
    assert "later" in said.out


def test_what_cannot_be_archived(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "out", tmp_path / "out")
    own = ["paths.outputs=out", "logger=none", "--archive", "new.parquet"]
    shutil.copytree(finished / "mine", tmp_path / "other")
    shutil.copy(finished / "records.parquet", tmp_path / "theirs.parquet")
    assert main(["table", "other", *own[:3], "theirs.parquet"]) == 2
    assert "theirs.parquet: the archive of study 'mine', not of other; choose its own file" in capsys.readouterr().err
    assert table(finished, "paths.outputs=nothing", "logger=none", "--archive", "new.parquet") == 2
    assert "no run is finished" in capsys.readouterr().err
    record = next((tmp_path / "out" / "runs").glob("*/record.json"))
    record.write_text(record.read_text().replace('"finished"', '"diverged"', 1))
    assert table(finished, *own) == 3
    assert "not archived: " in capsys.readouterr().err.splitlines()[-1]
    assert not Path("new.parquet").exists()

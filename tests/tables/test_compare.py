"""Selecting records, and the table of the selected ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trigan.commands.main import main
from trigan.errors import ConfigError
from trigan.records.record import Record, write_record
from trigan.tables.compare import compare, select

Make = Callable[..., Record]


@pytest.fixture
def runs(record: Make) -> list[Record]:
    found = [
        record(
            0.8 + 0.01 * t, t, tags={"strategy": s}, config={"optimizer": {"rate": 0.0002, "nesterov": s == "joint"}}
        )
        for s in ("joint", "baseline")
        for t in range(3)
    ]
    for index, one in enumerate(found):
        one["run"] = f"{index}abcdef{index}"
    return found


def chosen(runs: list[Record], *queries: str) -> list[str]:
    return [record["run"][0] for record in select(runs, queries)]


def test_without_a_query_all_are_chosen_by_hash(runs: list[Record]) -> None:
    assert chosen(list(reversed(runs))) == list("012345")


@pytest.mark.parametrize(
    ("queries", "found"),
    [
        (["1abc"], "1"),
        (["1abc", "4abcdef4"], "14"),
        (["strategy=joint"], "012"),
        (["strategy=joint,baseline", "trial=0,2"], "0235"),
        (["optimizer.rate=2e-4", "trial=1"], "14"),
        (["optimizer.nesterov=True"], "012"),
        (["strategy=joint", "5abc"], "0125"),
        (["status=finished"], "012345"),
    ],
)
def test_queries(runs: list[Record], queries: list[str], found: str) -> None:
    assert chosen(runs, *queries) == list(found)


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (["1abd"], "no run starts with '1abd'; the nearest is 1abc"),
        (["1a"], "'1a' is too short"),
        (["stratgey=joint"], "no run has 'stratgey'; did you mean strategy"),
        (["optimizer=adam"], "did you mean optimizer.nesterov, optimizer.rate"),
        (["strategy=features"], "no run has strategy=features; there is baseline, joint"),
        (["strategy=joint,bogus"], "no run has strategy=bogus; there is baseline, joint"),
        (["trial=True"], "no run has trial=True; there is 0, 1, 2"),
        (
            ["strategy=joint", "optimizer.nesterov=false"],
            "that meets the other conditions has optimizer.nesterov=false",
        ),
    ],
)
def test_a_query_without_a_match_gives_a_one_line_error(runs: list[Record], queries: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(runs, queries)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_ambiguous_hash_is_refused(runs: list[Record]) -> None:
    runs[1]["run"] = "0abcdefff"
    with pytest.raises(ConfigError, match="2 runs start with '0abcdef'"):
        select(runs, ["0abcdef"])


def test_differences_are_to_the_first_baseline_or_the_named_row(runs: list[Record]) -> None:
    table = compare(runs)
    assert table.spec.rows == ("baseline", "joint")
    assert table.spec.reference == "baseline"
    assert compare(runs, reference="joint").spec.reference == "joint"
    assert compare(runs[:3]).spec.reference is None
    with pytest.raises(ConfigError, match="nearest: joint; rows: baseline, joint"):
        compare(runs, reference="jont")
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([])


def test_tables_are_written_before_they_are_printed(
    runs: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in runs:
        write_record(tmp_path / "runs" / record["run"] / "record.json", record)
    (tmp_path / "file").touch()
    words = ["compare", "--outputs", str(tmp_path), "--write"]
    assert main([*words, str(tmp_path / "file")]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert (
        f"trigan: cannot write {tmp_path / 'file' / 'table.txt'}: a file is where a directory is needed" in output.err
    )
    assert main([*words, str(tmp_path / "tables")]) == 0
    assert (tmp_path / "tables" / "table.txt").read_text().splitlines()[0] in capsys.readouterr().out

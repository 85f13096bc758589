"""Submitted rows: found for their study, compared like any other, with unknown costs marked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trigan.errors import ArtifactError, ConfigError
from trigan.records.record import Record, read_record, write_record
from trigan.tables.external_records import external_rows
from trigan.tables.layout.text import render_csv, render_terminal
from trigan.tables.table import TableSpec, build_table

Make = Callable[..., Record]


def submitted(record: Make, value: float, trial: int, **place: Any) -> Record:
    submitted_as = {"study": "s", "scale": None, "row": "ours", "column": "c", **place}
    unknown = {"flops": None, "images": None}
    return record(value, trial, config={"external": submitted_as}, stamps=["external"], cost=unknown)


def keep(outputs: Path, *records: Record) -> None:
    for made in records:
        write_record(outputs / "external" / made["run"][:20] / "record.json", made)


def test_rows_of_a_study_are_found_by_row_and_column(tmp_path: Path, record: Make) -> None:
    mine = [submitted(record, 0.9, trial) for trial in (1, 0)]
    keep(tmp_path, *mine, submitted(record, 0.1, 0, study="t"), submitted(record, 0.1, 0, scale="paper"))
    found = external_rows(tmp_path, "s", None, ("c",))
    assert list(found) == [("ours (external)", "c")]
    assert sorted(one["tags"]["trial"] for one in found["ours (external)", "c"]) == [0, 1]
    assert external_rows(tmp_path / "nowhere", "s", None, ("c",)) == {}
    with pytest.raises(ConfigError, match="is for column 'c', and study s has d; remove its folder"):
        external_rows(tmp_path, "s", None, ("d",))


def test_an_external_row_is_compared_by_the_same_rules(tmp_path: Path, record: Make, records: Any) -> None:
    keep(tmp_path, *(submitted(record, 0.9 + 0.01 * trial, trial) for trial in range(5)))
    places = {("own", "c"): records([0.88] * 5), ("uses U", "c"): records([0.9] * 5, data_used={"U": 9})}
    places |= external_rows(tmp_path, "s", None, ("c",))
    names = ("own", "uses U", "ours (external)")
    table = build_table(places, TableSpec("t", names, ("c",), (0, 1, 2, 3, 4), reference="own"))
    one = table.differences["ours (external)", "c"]
    assert one.kind == "exploratory"
    assert one.mean == pytest.approx(0.04)
    assert table.differences["uses U", "c"].kind == "different_data"
    assert ("ours (external)", "c") in table.best
    page = render_terminal(table, width=120)
    line = next(line for line in page.splitlines() if "ours (external)" in line and "unknown" in line)
    assert line.count("unknown") == 2
    assert "those that its authors state" in page.replace("\n", " ")
    cost = [line for line in render_csv(table).splitlines() if line.startswith("ours (external)")]
    assert "unknown,unknown" in cost[0]


def test_only_external_records_may_have_an_unknown_cost(tmp_path: Path, record: Make) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(ArtifactError, match=r"result\.cost is unknown, which is allowed for external records only"):
        write_record(path, record(0.9, cost={"flops": None}))
    assert not path.exists()
    path.write_text(json.dumps(record(0.9, cost={"images": None})))
    with pytest.raises(ArtifactError, match=r"result\.cost is unknown"):
        read_record(path)

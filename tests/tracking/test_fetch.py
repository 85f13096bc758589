"""Records fetched from a W&B project."""

from pathlib import Path

import pytest
from fake_wandb import Api

from trigan.errors import ConfigError
from trigan.tracking import wandb_tracking
from trigan.tracking.wandb_tracking import fetch_records


def test_records_have_the_layout_of_the_disk(tmp_path: Path) -> None:
    held = {
        "aa": {"record.json": "{}", "config.yaml": "x"},
        "bb": {"config.yaml": "still running"},
        "cc": {"record.json": ""},
        "dd": {"record.json": "[]"},
    }
    api = Api({"me/trigan": held})
    assert fetch_records(api, "me/trigan", ["aa", "bb", "cc", "ee", "aa"], tmp_path, "record.json") == {"aa"}
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["runs/aa/record.json"]
    assert (tmp_path / "runs/aa/record.json").read_text() == "{}"
    assert fetch_records(api, "me/trigan", [], tmp_path, "record.json") == set()


def test_many_runs_are_requested_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_tracking, "RUNS_PER_REQUEST", 2)
    api = Api({"me/trigan": {name: {"record.json": name} for name in "abcde"}})
    assert fetch_records(api, "me/trigan", "abcde", tmp_path, "record.json") == set("abcde")
    assert api.asked == [2, 2, 1]


def test_no_such_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^wandb:me/other: Could not find project other; is it an entity/project"):
        fetch_records(Api({}), "me/other", ["aa"], tmp_path, "record.json")
    assert not list(tmp_path.iterdir())

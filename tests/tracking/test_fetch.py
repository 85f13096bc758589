"""Records fetched from a W&B project; a stand-in for W&B's interface has what its documentation names, no more."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pytest

from trigan.errors import ConfigError
from trigan.tracking import fetch
from trigan.tracking.fetch import fetch_records


@dataclass
class File:
    name: str
    text: str

    @property
    def size(self) -> int:
        return len(self.text)

    def download(self, root: str = ".", replace: bool = False, exist_ok: bool = False) -> TextIO:
        path = Path(root) / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text)
        return path.open()


@dataclass
class Run:
    id: str
    held: dict[str, str]

    def files(self, names: list[str] | None = None) -> list[File]:
        return [File(name, text) for name, text in self.held.items() if name in (names or self.held)]


@dataclass
class Api:
    """Projects of runs with their files."""

    projects: dict[str, dict[str, dict[str, str]]]
    asked: list[int] = field(default_factory=list)

    def runs(self, path: str, filters: dict[str, Any] | None = None) -> Iterator[Run]:
        if path not in self.projects:
            raise ValueError(f"Could not find project {path.split('/')[1]}")
        names = (filters or {})["name"]["$in"]
        self.asked.append(len(names))
        return iter([Run(name, held) for name, held in self.projects[path].items() if name in names])


def test_records_lie_as_on_disk(tmp_path: Path) -> None:
    held = {
        "aa": {"record.json": "{}", "config.yaml": "x"},
        "bb": {"config.yaml": "still running"},
        "cc": {"record.json": ""},
        "dd": {"record.json": "[]"},
    }
    api = Api({"me/trigan": held})
    assert fetch_records(api, "me/trigan", ["aa", "bb", "cc", "ee", "aa"], tmp_path) == {"aa"}
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["runs/aa/record.json"]
    assert (tmp_path / "runs/aa/record.json").read_text() == "{}"
    assert fetch_records(api, "me/trigan", [], tmp_path) == set()


def test_many_runs_are_asked_for_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BATCH", 2)
    api = Api({"me/trigan": {name: {"record.json": name} for name in "abcde"}})
    assert fetch_records(api, "me/trigan", "abcde", tmp_path) == set("abcde")
    assert api.asked == [2, 2, 1]


def test_no_such_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^wandb:me/other: Could not find project other; is it an entity/project"):
        fetch_records(Api({}), "me/other", ["aa"], tmp_path)
    assert not list(tmp_path.iterdir())

"""A study from Python: run, looked at, as a table and as a picture."""

from pathlib import Path

import pandas as pd
import pytest
from study_fixture import write_study

import trigan

STUDY = {
    "title": "Small",
    "trials": 2,
    "fixed": ["logger=none", "callbacks=quiet", "classifier.width=4", "data.suggested.steps=3"],
    "rows": [
        {"name": "bare", "set": ["strategy=baseline", "augmentation=none"]},
        {"name": "classic", "set": ["strategy=baseline"]},
    ],
    "reference": "bare",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small_study")
    write_study(folder, STUDY)
    return folder


def test_a_study_is_run_and_read(folder: Path) -> None:
    outputs = f"paths.outputs={folder / 'outputs'}"
    before = trigan.study(str(folder), outputs, run=False)
    assert before.status().state.tolist() == ["missing"] * 4
    with pytest.raises(trigan.ConfigError, match="no run is finished"):
        before.table()
    study = trigan.study(str(folder), outputs, workers=1)
    assert study.status().state.tolist() == ["done"] * 4
    table = study.table()
    assert isinstance(table, pd.DataFrame)
    assert table.row.tolist() == ["bare", "classic"]
    assert table["mean"].between(0, 1).all()
    assert study.figure().size[0] > 100
    assert "<table" in study._repr_html_()
    runs = sorted(path.parent for path in (folder / "outputs").rglob("record.json"))
    assert not list((folder / "outputs" / "runs").rglob("*.png"))  # nobody has looked at its runs
    assert trigan.load(runs[0]).figure("features").size[0] > 100
    assert sorted(path.name for path in runs[0].rglob("*.png")) == ["confusion.png", "features.png", "losses.png"]


def test_an_unknown_study_is_one_line() -> None:
    with pytest.raises(trigan.ConfigError, match="demoo: no such study; nearest: demo"):
        trigan.study("demoo", run=False)

"""`trigan wandb-report`: what W&B's server is given to show, and the lines where it can't be."""

import json
import sys
from pathlib import Path

import pytest
from study_fixture import STUDY, finish
from wandb_server import WandbServer

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.studies.plan import StudyPlan
from trigan.studies.study_file import read_study

pytestmark = pytest.mark.usefixtures("small_conf")


@pytest.fixture
def words(tmp_path: Path, composer: Composer) -> list[str]:
    """The command for a study whose runs are finished."""
    path = tmp_path / "table" / "study.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps({**STUDY, "claim": "GANs help.", "question": "Do they?"}))  # which is YAML
    own = f"paths.outputs={tmp_path}"
    for cell in finish(StudyPlan(composer, read_study(path), [own]).jobs().runnable):
        row = {"stage": "classifier", "images": 64, "classifier/train/classifier_loss": 1.0, "classifier/seconds": 1.0}
        (cell.record_path.parent / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return ["wandb-report", str(path), own]


def test_a_report_is_saved_and_replaced(
    words: list[str], wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    first = capsys.readouterr().out
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert wandb_server.unknown == []
    ((key, report),) = wandb_server.reports.items()
    assert first.strip().endswith(f"/me/trigan/reports/A-table--{key}")
    assert (report["displayName"], report["description"]) == ("A table", "GANs help.")
    text = report["spec"]
    for words_shown in ("Do they?", "two & more", "final/test/accuracy", "study/table", "classifier_loss"):
        assert words_shown in text
    assert "classifier/seconds" not in text
    spec = json.loads(text)
    assert '"classifier/images"' in text, "a curve is drawn over its stage's own images"
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == 3
    assert all(grid["metadata"]["runSets"][0]["project"]["name"] == "trigan" for grid in grids)
    assert all('"section": "config", "name": "study"' in json.dumps(grid["metadata"]["runSets"]) for grid in grids)


def test_nobody_logged_in(words: list[str], logged_out: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("trigan: you are not logged in to W&B: log in with `wandb login`")


def test_without_the_extra(
    words: list[str],
    wandb_server: WandbServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    assert main(words) == 2
    assert capsys.readouterr().err == ("trigan: W&B Reports need wandb-workspaces: pip install 'trigan[reports]'\n")
